//! The log: one line per event, on stderr.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Whether a text says what to log: `info`, `keylend=debug,warn`, ..
pub fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
}

/// Starts logging what `filter` lets through; nothing of it where it is no filter. Colours only on a terminal, and
/// never with NO_COLOR.
pub fn start(filter: &str) {
    let filter = EnvFilter::new(filter);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_ansi(colours).with_writer(io::stderr).with_filter(filter_fn(keeps_secrets));
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// The libraries below show paths and bytes at their finest level, and with them whole lease ids: never logged,
/// whatever is asked for.
fn keeps_secrets(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || metadata.target().starts_with("keylend")
}
