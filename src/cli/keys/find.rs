//! `keylend keys find`

use clap::Args;
use serde::Serialize;

use super::{PoolArguments, shown};
use crate::cli::act::Acts;
use crate::cli::{Failure, output, store};
use crate::config::Settings;
use crate::domain::{KeyRef, Secret};
use crate::pool::PoolError;
use crate::wire::keys::KeyReply;

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys find                                masked, and stamped as used
  keylend keys find --peek                         left as it is
  STABILITY_KEY=$(keylend keys find --reveal)";

#[derive(Args)]
pub(in crate::cli) struct FindArguments {
    #[command(flatten)]
    pool: PoolArguments,
    /// Take keys with at most so many uses counted or out on lease (0 to 10000; else the pool's own limit)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    max_uses: Option<u32>,
    /// Show the key's secret
    #[arg(long)]
    reveal: bool,
    /// Only look: do not stamp it as used
    #[arg(long)]
    peek: bool,
}

/// A found key: as it is looked up, what is left of it, and its secret where that is asked for.
#[derive(Serialize)]
struct FoundKey<'a> {
    #[serde(flatten)]
    key: KeyReply,
    left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}

pub(super) async fn run(settings: &Settings, arguments: FindArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let begun = match arguments.peek && !arguments.reveal {
        true => None,
        false => Some(Acts::of(settings)?.begin("find_usable_key", Some(&pool.policy().name), None).await?),
    };
    let found = if arguments.peek {
        pool.peek_usable_key(arguments.max_uses).await?
    } else {
        match pool.find_usable_key(arguments.max_uses).await {
            Ok(found) => Some(pool.look_up(&KeyRef::Id(found.id)).await?),
            Err(PoolError::NoUsableKey { .. }) => None,
            Err(error) => return Err(error.into()),
        }
    };
    let Some(found) = found else {
        output::complain(&format!("pool {} has no usable key; keylend stats says why", pool.policy().name));
        return Err(Failure::NotAll);
    };
    let key = &found.value;
    if let Some(begun) = begun {
        begun.done(Some(key.id), "a key was found");
    }
    let revealed = key.secret.as_ref().filter(|_| arguments.reveal).map(Secret::expose);
    match (arguments.pool.json, revealed) {
        (true, _) => output::print_json(&FoundKey {
            key: KeyReply::of_one(pool.policy(), &found),
            left: key.left(pool.policy().uses_per_key),
            api_key: revealed,
        }),
        (false, Some(secret)) => output::print(secret),
        (false, None) => output::print_table(&shown::HEADINGS, vec![shown::row(pool.policy(), key, found.now)]),
    }
}
