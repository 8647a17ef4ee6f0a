//! `keylend keys enable|disable|rest`

use std::time::Duration;

use clap::Args;

use super::named::{NamedKeys, Selection};
use super::shown;
use crate::cli::act::Acts;
use crate::cli::{Failure, output};
use crate::config::{Fault, Settings};
use crate::domain::{KeyChange, Rest};

pub(super) const ENABLE_EXAMPLES: &str = "Examples:
  keylend keys enable 65a1b2c3d4e5f60718293a4b";

pub(super) const DISABLE_EXAMPLES: &str = "Examples:
  keylend keys disable 65a1b2c3d4e5f60718293a4b 65a1b2c3d4e5f60718293a4c
  pass show stability | keylend keys disable --secret -";

pub(super) const REST_EXAMPLES: &str = "Examples:
  keylend keys rest 65a1b2c3d4e5f60718293a4b               as long as the pool's rest_seconds
  keylend keys rest 65a1b2c3d4e5f60718293a4b --for 10m
  keylend keys rest 65a1b2c3d4e5f60718293a4b --end";

/// The longest rest that an operator can ask for: a year.
const LONGEST_REST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

#[derive(Args)]
pub(in crate::cli) struct RestArguments {
    #[command(flatten)]
    keys: NamedKeys,
    /// How long from now; a longer rest stays as it is
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// End their rest now
    #[arg(long, conflicts_with = "duration")]
    end: bool,
}

pub(super) async fn enable(settings: &Settings, arguments: NamedKeys) -> Result<(), Failure> {
    change(settings, arguments, ("enable", "a key was enabled"), |_| KeyChange {
        is_active: Some(true),
        ..KeyChange::default()
    })
    .await
}

pub(super) async fn disable(settings: &Settings, arguments: NamedKeys) -> Result<(), Failure> {
    change(settings, arguments, ("disable", "a key was disabled"), |_| KeyChange {
        is_active: Some(false),
        ..KeyChange::default()
    })
    .await
}

pub(super) async fn rest(settings: &Settings, arguments: RestArguments) -> Result<(), Failure> {
    if arguments.duration.is_some_and(|duration| duration.is_zero() || duration > LONGEST_REST) {
        return Err(Failure::Usage(vec![Fault::new("--for", "it must be more than 0 and a year at most")]));
    }
    let rest = |pools_own: Duration| match (arguments.end, arguments.duration) {
        (true, _) => Rest::End,
        (false, duration) => Rest::For(duration.unwrap_or(pools_own)),
    };
    let change_of = |pools_own| KeyChange { rest: Some(rest(pools_own)), ..KeyChange::default() };
    change(
        settings,
        arguments.keys,
        if arguments.end { ("end rest", "the rest of a key was ended") } else { ("rest", "a key was put to rest") },
        change_of,
    )
    .await
}

/// Changes each key and shows it as it is then. `change_of` is given how long keys of the pool rest.
async fn change(
    settings: &Settings,
    arguments: NamedKeys,
    (act, what): (&'static str, &str),
    change_of: impl Fn(Duration) -> KeyChange,
) -> Result<(), Failure> {
    let selection = Selection::of(settings, &arguments).await?;
    let acts = Acts::of(settings)?;
    let change = change_of(selection.pool()?.policy().rest);
    let mut rows = Vec::new();
    let changed = selection
        .each(async |pool, id| {
            let begun = acts.begin(act, Some(&pool.policy().name), Some(id)).await?;
            let seen = pool.change(id, &change).await?;
            begun.done(None, what);
            if arguments.pool.json {
                return shown::print_record(pool.policy(), &seen);
            }
            rows.push(shown::row(pool.policy(), &seen.value.key, seen.now));
            Ok(())
        })
        .await;
    // What was changed is shown, also where a later one failed.
    if !rows.is_empty() {
        output::print_table(&shown::HEADINGS, rows)?;
    }
    changed
}
