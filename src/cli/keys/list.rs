//! `keylend keys list`

use clap::Args;
use serde::Serialize;

use super::{PoolArguments, shown};
use crate::cli::{Failure, output, store};
use crate::config::Settings;
use crate::domain::State;

use crate::wire::record::KeyRecordReply;

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys list
  keylend keys list --pool plantid --state spent
  keylend keys list --credits                      with the credits that the old programs would show
  keylend keys list --json | jq -r 'select(.left == 0) | .id'";

/// How many keys are read from the store at a time.
const PART: u32 = 1000;

#[derive(Args)]
pub(in crate::cli) struct ListArguments {
    #[command(flatten)]
    pool: PoolArguments,
    /// Only keys in this state
    #[arg(long, value_parser = state)]
    state: Option<State>,
    /// Show the credits that the old programs would show: 25 less the uses
    #[arg(long)]
    credits: bool,
}

fn state(word: &str) -> Result<State, String> {
    State::ALL
        .into_iter()
        .find(|state| state.as_str() == word)
        .ok_or_else(|| format!("a state is one of {}", State::ALL.map(State::as_str).join(", ")))
}

/// A key, and its credits where they are asked for.
#[derive(Serialize)]
struct ListedKey<'a> {
    #[serde(flatten)]
    key: KeyRecordReply<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<Option<u64>>,
}

pub(super) async fn run(settings: &Settings, arguments: ListArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let mut rows = Vec::new();
    let mut keys = pool.walk(PART).only(arguments.state);
    let mut found = false;
    while let Some(page) = keys.next().await? {
        found = true;
        for record in &page.value {
            let credits = arguments.credits.then(|| shown::credits(&record.key));
            if arguments.pool.json {
                let key = KeyRecordReply::new(pool.policy(), record, page.now);
                output::print_json(&ListedKey { key, credits })?;
            } else {
                let mut row = shown::row(pool.policy(), &record.key, page.now);
                row.extend(credits.map(output::or_dash));
                rows.push(row);
            }
        }
    }
    if !found {
        let name = &pool.policy().name;
        output::complain(&match arguments.state {
            Some(state) => format!("pool {name} has no keys that are {}", state.as_str()),
            None => format!("pool {name} has no keys; add some with: keylend keys add"),
        });
        return Err(Failure::NotAll);
    }
    if arguments.pool.json {
        return Ok(());
    }
    let credits = arguments.credits.then_some("CREDITS");
    output::print_table(&shown::HEADINGS.into_iter().chain(credits).collect::<Vec<_>>(), rows)
}
