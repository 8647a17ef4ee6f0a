//! `keylend check`: what was found, and what to do next. Changes nothing, makes nothing.

mod plan;
mod told;

use clap::Args;

use self::plan::{DatabaseReport, KeyFileReport, Plan, PoolReport, StoreReport};
use super::{Failure, output, store};
use crate::config::{Settings, StoreSettings};
use crate::pool::{Pool, PoolError, Pools};
use crate::store::StoreError;
use crate::store::vault::Vault;

pub(super) const EXAMPLES: &str = "Examples:
  keylend check
  keylend check --json | jq .next
  MONGODB_URI=mongodb://db/ keylend check

Ends with 0 where all is well, 1 where something wants you, 2 where the store cannot be asked, 64 where the settings
are faulty.";

/// How many invalid documents and duplicates are named.
const LISTED: u32 = 1000;

#[derive(Args)]
pub(super) struct CheckArguments {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &Settings, arguments: &CheckArguments) -> Result<(), Failure> {
    let mut plan = Plan::new(settings);
    let files = settings.key_files.keys.iter();
    plan.key_files = files.map(|(pool, path)| KeyFileReport::read(pool, path)).collect();
    match &settings.store {
        StoreSettings::Sqlite { path } if is_new(path) => {
            plan.store = StoreReport::missing(format!("SQLite file {}", path.display()));
            plan.pools = settings.pools.iter().map(PoolReport::missing).collect();
        }
        _ => match store::pools(settings).await {
            Ok(pools) => look(&mut plan, &pools, &settings.vault).await,
            Err(error) => plan.store = StoreReport::failed("the store".to_owned(), error.chain()),
        },
    }
    plan.conclude(|pool| std::path::Path::new(&format!("{pool}.txt")).is_file());
    if arguments.json {
        output::print_json(&plan)?;
    } else {
        told::tell(&plan)?;
    }
    match plan.store.error {
        Some(error) => Err(Failure::Failed(error)),
        None if plan.findings.is_empty() => Ok(()),
        None => Err(Failure::NotAll),
    }
}

/// Whether a file of the embedded store would be made here: it is not there, or has nothing in it.
fn is_new(path: &std::path::Path) -> bool {
    match std::fs::metadata(path) {
        Ok(file) => file.is_file() && file.len() == 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Looks at what the store holds.
async fn look(plan: &mut Plan, pools: &Pools, vault: &Vault) {
    plan.store = StoreReport::found(pools.store());
    match pools.databases().await {
        Ok(databases) => {
            plan.elsewhere = store::elsewhere(&databases);
            plan.databases = databases.into_iter().map(DatabaseReport::from).collect();
        }
        // Who may not list databases may use one all the same.
        Err(PoolError::Store(StoreError::Refused(_))) => {}
        Err(error) => return plan.store.error = Some(error.chain()),
    }
    for pool in pools.all() {
        match look_at(pool, vault).await {
            Ok(report) => plan.pools.push(report),
            Err(error) => return plan.store.error = Some(error.chain()),
        }
    }
}

async fn look_at(pool: &Pool, vault: &Vault) -> Result<PoolReport, PoolError> {
    let examination = pool.examine(LISTED).await?;
    if !examination.exists {
        return Ok(PoolReport::missing(pool.policy()));
    }
    let stats = pool.examine_stats().await?;
    let mut report = PoolReport::found(pool.policy(), examination, &stats);
    let older = report.encrypted.iter().filter(|(by, _)| vault.names().next() != Some(by));
    report.by_others = older.map(|(_, keys)| keys).sum();
    Ok(report)
}
