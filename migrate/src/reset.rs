//! `--reset-usage`: the manual repair, as `keylend keys reset --all` does it.

use keylend::cli::act::Acts;
use keylend::cli::{Failure, confirm, output, store};
use keylend::config::Settings;
use serde::Serialize;

#[derive(Serialize)]
struct Reset {
    reset: u64,
}

pub(crate) async fn run(settings: &Settings, pool: &str, yes: bool, json: bool) -> Result<(), Failure> {
    confirm::confirm(&format!("Set the counts of all keys of pool {pool} to 0?"), yes)?;
    let pools = store::prepared(settings).await?;
    let pool = pools.get(pool)?;
    let begun = Acts::of(settings)?.begin("reset all", Some(&pool.policy().name), None).await?;
    let reset = pool.reset_all().await?;
    begun.done(None, "all keys were reset");
    if json {
        output::print_json(&Reset { reset })?
    } else {
        output::print(&format!("{reset} reset"))?
    }
    if reset > 0 { Ok(()) } else { Err(Failure::NotAll) }
}
