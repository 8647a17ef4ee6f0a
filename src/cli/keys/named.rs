//! Keys that are named on the command line: by their ids, or by their secrets on standard input.

use std::io::{self, BufRead};

use clap::Args;

use super::PoolArguments;
use crate::cli::{Failure, output, store};
use crate::config::{Fault, Settings};
use crate::domain::{KeyId, KeyRef, Secret};
use crate::pool::{Pool, PoolError, Pools};

#[derive(Args)]
pub(in crate::cli) struct NamedKeys {
    /// Ids of keys
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// Name the keys by their secrets, one per line on standard input
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub(super) secret: Option<String>,
    #[command(flatten)]
    pub(super) pool: PoolArguments,
}

/// The keys that are meant, and the pool they are in.
pub(super) struct Selection {
    pools: Pools,
    pool: String,
    keys: Vec<Named>,
}

/// A key, and how an unknown one is told of.
struct Named {
    key: KeyRef,
    told: String,
}

impl Selection {
    /// The keys of the arguments.
    pub(super) async fn of(settings: &Settings, arguments: &NamedKeys) -> Result<Self, Failure> {
        let keys = read(arguments)?;
        let pools = store::prepared(settings).await?;
        pools.get(&arguments.pool.pool)?;
        Ok(Self { pools, pool: arguments.pool.pool.clone(), keys })
    }

    pub(super) fn pool(&self) -> Result<&Pool, PoolError> {
        self.pools.get(&self.pool)
    }

    /// Does something to each key in turn. Those that the pool does not have are told of, and make the end
    /// [`Failure::NotAll`].
    pub(super) async fn each(
        &self,
        mut act: impl AsyncFnMut(&Pool, KeyId) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let pool = self.pool()?;
        let mut all = true;
        for named in &self.keys {
            let acted = match self.id(named).await {
                Ok(id) => act(pool, id).await,
                Err(error) => Err(error.into()),
            };
            match acted {
                Err(Failure::NoSuchKey) => {
                    output::complain(&format!("{}: pool {} has no such key", named.told, self.pool));
                    all = false;
                }
                other => other?,
            }
        }
        if all { Ok(()) } else { Err(Failure::NotAll) }
    }

    async fn id(&self, named: &Named) -> Result<KeyId, PoolError> {
        match &named.key {
            KeyRef::Id(id) => Ok(*id),
            secret @ KeyRef::Secret(_) => Ok(self.pool()?.look_up(secret).await?.value.id),
        }
    }
}

/// The keys of the arguments and of standard input. A fault repeats nothing: a secret may stand where an id belongs.
fn read(arguments: &NamedKeys) -> Result<Vec<Named>, Failure> {
    let mut keys = Vec::new();
    let mut faults = Vec::new();
    for (number, id) in (1..).zip(&arguments.ids) {
        match id.parse::<KeyId>() {
            Ok(id) => keys.push(Named { key: KeyRef::Id(id), told: id.to_string() }),
            Err(why) => faults.push(Fault::new(format!("ID {number}"), format!("{why}; keys list shows them"))),
        }
    }
    if arguments.secret.is_some() {
        for (number, line) in (1..).zip(io::stdin().lock().lines()) {
            let told = format!("line {number}");
            match Secret::parse(line?.trim()) {
                Ok(secret) => keys.push(Named { key: KeyRef::Secret(secret), told }),
                Err(why) => faults.push(Fault::new(told, why.to_string())),
            }
        }
    } else if arguments.ids.is_empty() {
        faults.push(Fault::new("ID", "name a key by its id, or by its secret with --secret -"));
    }
    if faults.is_empty() { Ok(keys) } else { Err(Failure::Usage(faults)) }
}
