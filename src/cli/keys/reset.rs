//! `keylend keys reset`

use clap::Args;
use serde::Serialize;

use super::named::{NamedKeys, Selection};
use crate::cli::act::Acts;
use crate::cli::{Failure, confirm, output, store};
use crate::config::{Fault, Settings};

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys reset 65a1b2c3d4e5f60718293a4b
  keylend keys reset --all --pool plantid
  keylend keys reset --all --yes                   without asking, as in a timer";

#[derive(Args)]
pub(in crate::cli) struct ResetArguments {
    #[command(flatten)]
    keys: NamedKeys,
    /// All keys of the pool
    #[arg(long, conflicts_with_all = ["ids", "secret"])]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Reset {
    reset: u64,
}

pub(super) async fn run(settings: &Settings, arguments: ResetArguments) -> Result<(), Failure> {
    let (pool, json) = (arguments.keys.pool.pool.clone(), arguments.keys.pool.json);
    if !arguments.all && arguments.keys.ids.is_empty() && arguments.keys.secret.is_none() {
        let advice = "name keys by their ids or with --secret -, or reset --all of them";
        return Err(Failure::Usage(vec![Fault::new("ID", advice)]));
    }
    if arguments.all {
        confirm::confirm(&format!("Set the counts of all keys of pool {pool} to 0?"), arguments.yes)?;
        let pools = store::prepared(settings).await?;
        let pool = pools.get(&pool)?;
        let begun = Acts::of(settings)?.begin("reset all", Some(&pool.policy().name), None).await?;
        let reset = pool.reset_all().await?;
        begun.done(None, "all keys were reset");
        tell(reset, json)?;
        return if reset > 0 { Ok(()) } else { Err(Failure::NotAll) };
    }
    confirm::confirm(&format!("Set the counts of these keys of pool {pool} to 0?"), arguments.yes)?;
    let selection = Selection::of(settings, &arguments.keys).await?;
    let acts = Acts::of(settings)?;
    let mut reset = 0;
    let each = selection
        .each(async |pool, id| {
            let begun = acts.begin("reset", Some(&pool.policy().name), Some(id)).await?;
            if pool.reset(&[id]).await?.is_empty() {
                return Err(Failure::NoSuchKey);
            }
            reset += 1;
            begun.done(None, "a key was reset");
            Ok(())
        })
        .await;
    tell(reset, json)?;
    each
}

fn tell(reset: u64, json: bool) -> Result<(), Failure> {
    if json { output::print_json(&Reset { reset }) } else { output::print(&format!("{reset} reset")) }
}
