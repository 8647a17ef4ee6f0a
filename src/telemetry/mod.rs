//! The log: one line per event, as text or JSON, on stderr or in a file.

mod file;
mod json;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

pub(crate) use file::LogFile;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object, its fields flat.
    Json,
}

impl LogFormat {
    /// The configured word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// The format of this word; None for another text.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Text, Self::Json].into_iter().find(|format| format.as_str() == word)
    }
}

/// Whether a text says what to log: `info`, `keylend=debug,warn`, ..
pub fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
}

/// The log that was started. Every line is written out when it is logged: at the end nothing is left to be flushed.
pub struct Log(Option<Arc<LogFile>>);

impl Log {
    /// Opens the log file anew, for it may have been moved away. No line is lost: those before are in the old file,
    /// those from now on in the new one.
    ///
    /// # Errors
    /// Where it cannot be opened: the old file is written on.
    pub fn reopen(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |file| file.reopen())
    }
}

/// Starts logging what `filter` lets through; nothing of it where it is no filter. To `path`, or where None to stderr:
/// with colours only where that is a terminal, and never with NO_COLOR.
///
/// # Errors
/// Where the file cannot be opened. Nothing is logged then, and it can be started with another.
pub fn start(filter: &str, format: LogFormat, path: Option<&Path>) -> io::Result<Log> {
    let file = path.map(LogFile::open).transpose()?.map(Arc::new);
    let writer = match &file {
        Some(file) => BoxMakeWriter::new(Arc::clone(file)),
        None => BoxMakeWriter::new(io::stderr),
    };
    let colours = file.is_none() && io::stderr().is_terminal() && !no_color();
    let lines = match format {
        LogFormat::Text => fmt::layer().with_ansi(colours).with_writer(writer).boxed(),
        LogFormat::Json => {
            fmt::layer().fmt_fields(JsonFields::new()).event_format(json::Flat).with_writer(writer).boxed()
        }
    };
    let lines = lines.with_filter(filter_fn(keeps_secrets));
    tracing_subscriber::registry().with(EnvFilter::new(filter)).with(lines).init();
    Ok(Log(file))
}

/// Whether the person asked for no colours.
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The libraries below show paths and bytes at their finest level, and with them whole lease ids; and their spans hold
/// whole requests, at any level. Never logged, whatever is asked for.
fn keeps_secrets(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("keylend") || (metadata.is_event() && *metadata.level() < Level::TRACE)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn what_libraries_keep_in_their_spans_and_finest_lines_is_not_logged() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let writer = Mutex::new(path.reopen().unwrap());
        let lines = fmt::layer().with_ansi(false).with_writer(writer).with_filter(filter_fn(keeps_secrets));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let _theirs = tracing::error_span!(target: "library", "request", token = "hush").entered();
            let _ours = tracing::info_span!(target: "keylend::http", "request", pool = "ours").entered();
            tracing::trace!(target: "library", "hush");
            tracing::debug!(target: "library", "one");
            tracing::trace!(target: "keylend::pool", "two");
        });
        let logged = std::fs::read_to_string(path.path()).unwrap();
        assert_eq!((logged.lines().count(), logged.matches("pool=\"ours\"").count()), (2, 2), "{logged}");
        assert!(!logged.contains("hush") && logged.contains("one") && logged.contains("two"), "{logged}");
    }
}
