//! `keylend keys remove`

use clap::Args;
use serde::Serialize;

use super::named::{NamedKeys, Selection};
use crate::cli::act::Acts;
use crate::cli::{Failure, confirm, output};
use crate::config::Settings;

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys remove 65a1b2c3d4e5f60718293a4b
  keylend keys remove --yes 65a1b2c3d4e5f60718293a4b

A key that is to rest for a while is better disabled: keylend keys disable ID";

#[derive(Args)]
pub(in crate::cli) struct RemoveArguments {
    #[command(flatten)]
    keys: NamedKeys,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Removed {
    removed: u64,
}

pub(super) async fn run(settings: &Settings, arguments: RemoveArguments) -> Result<(), Failure> {
    let question = format!("Take these keys out of pool {} for good?", arguments.keys.pool.pool);
    confirm::confirm(&question, arguments.yes)?;
    let selection = Selection::of(settings, &arguments.keys).await?;
    let acts = Acts::of(settings)?;
    let mut removed = 0;
    let each = selection
        .each(async |pool, id| {
            let begun = acts.begin("remove", Some(&pool.policy().name), Some(id)).await?;
            pool.remove(id).await?;
            removed += 1;
            begun.done(None, "a key was removed");
            Ok(())
        })
        .await;
    if arguments.keys.pool.json {
        output::print_json(&Removed { removed })?;
    } else {
        output::print(&format!("{removed} removed"))?;
    }
    each
}
