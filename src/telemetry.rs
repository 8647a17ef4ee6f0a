//! The log: one line per event, on stderr.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Starts logging what `filter` lets through (`info`, `keylend=debug`, ..). Colours only on a terminal, and never
/// with NO_COLOR.
///
/// # Errors
/// Where the filter cannot be understood.
pub fn start(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|_| "it must be a level such as info, or a list such as keylend=debug,warn".to_owned())?;
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_ansi(colours).with_writer(io::stderr).with_filter(filter_fn(keeps_secrets));
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(())
}

/// The libraries below show paths and bytes at their finest level, and with them whole lease ids: never logged,
/// whatever is asked for.
fn keeps_secrets(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || metadata.target().starts_with("keylend")
}
