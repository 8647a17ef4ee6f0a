//! The Discord bot: what the pools hold at a glance, and a word when something runs out. It knows keylend, or the older
//! Flask server, only by its statistics over HTTP.
//!
//! The modules in reading order:
//!
//! 1. [`snapshot`]: what a server said of its pools at one moment, understood from any JSON.
//! 2. [`texts`]: every text that people read on Discord, pure.
//! 3. [`alerts`]: what there is to announce after a look at the statistics, pure.
//! 4. `stats` and `body`: asking for the statistics, bounded in size and time.
//! 5. `rest`: asking something of Discord, with its rate limits.
//! 6. `announcer` and `state_file`: alerts sent once, and remembered.
//! 7. `look`: the statistics looked at again and again.
//! 8. `handler`, `commands` and `presence`: what happens on Discord, and what is answered.
//! 9. `gateway`: the connection to Discord, from the first request to the last.
//! 10. `health`: how the bot is, for containers.
//! 11. `program`: settings, log, signals, exit code.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod alerts;
mod announcer;
mod body;
mod commands;
mod gateway;
mod handler;
mod health;
mod look;
mod presence;
mod program;
mod rest;
pub mod snapshot;
mod state_file;
mod stats;
pub mod texts;

pub use program::run;
