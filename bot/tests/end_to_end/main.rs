//! The program itself against a server that speaks as Discord does, over HTTP and WebSocket, and against statistics of
//! keylend, of a server that answers as the older Flask one, and of broken ones.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod alerts;
mod bot;
mod commands;
mod discord;
mod documents;
mod ending;
mod gateway;
mod health;
mod leaks;
mod limits;
mod refused;
mod settings;
mod statistics;
mod stats_server;

use std::time::Duration;

/// The longest wait for what is bound to happen: longer than the bot's own.
pub const PATIENCE: Duration = Duration::from_secs(160);

/// Runs an async test.
pub fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().expect("a runtime").block_on(test);
}
