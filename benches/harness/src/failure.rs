//! Why a benchmark ends without figures.

use std::io;

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The machine, a file, a process.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The MongoDB that is measured on.
    #[error("the MongoDB: {0}")]
    Mongo(#[from] mongodb::error::Error),
    /// The embedded store's file, looked at by the check.
    #[error("the embedded store's file: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Answers that a benchmark must not be made of.
    #[error("wrong answers, so no figures: {0}")]
    Wrong(String),
    /// A server that does not start, or the benchmark itself.
    #[error("{0}")]
    Bench(String),
}
