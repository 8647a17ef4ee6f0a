//! `keylend stats`

use clap::Args;

use super::{Failure, output, store};
use crate::config::Settings;
use crate::domain::State;
use crate::wire::stats::StatsReply;

pub(super) const EXAMPLES: &str = "Examples:
  keylend stats
  keylend stats --json | jq '.pools[0].uses.left'";

#[derive(Args)]
pub(super) struct StatsArguments {
    /// Print JSON, for programs: as GET /v1/stats
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &Settings, arguments: &StatsArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let mut all = Vec::new();
    for pool in pools.all() {
        all.push((pool.policy(), pool.stats().await?));
    }
    if arguments.json {
        return output::print_json(&StatsReply::new(all));
    }
    let rows = all.into_iter().map(|(policy, stats)| {
        let mut row = vec![policy.name.to_string(), stats.keys.total().to_string()];
        let states = [State::Usable, State::Leased, State::Resting, State::Spent, State::Disabled, State::Invalid];
        row.extend(states.map(|state| stats.keys.of(state).to_string()));
        row.extend([stats.left.to_string(), output::or_dash(stats.last_used), output::or_dash(stats.next_due_at)]);
        row
    });
    let headings = [
        "POOL",
        "KEYS",
        "USABLE",
        "LEASED",
        "RESTING",
        "SPENT",
        "DISABLED",
        "INVALID",
        "USES LEFT",
        "LAST USED",
        "NEXT DUE",
    ];
    output::print_table(&headings, rows.collect())
}
