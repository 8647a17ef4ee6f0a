//! keylend lends API keys: the least recently used key that may still be used, every use counted exactly, however
//! many callers and instances there are.
//!
//! The modules in reading order:
//!
//! 1. [`domain`]: the words and rules, pure.
//! 2. [`store`]: where keys live; one trait, MongoDB and SQLite behind it, each operation one atomic step.
//! 3. [`metrics`]: what is counted and measured for those who monitor it.
//! 4. [`pool`]: lending over a store: turns, limits, what to do when there is no key or nobody to take it.
//! 5. [`key_files`]: the files of keys that an older server left, followed.
//! 6. [`audit`]: who did what to which key.
//! 7. [`wire`]: requests and replies as they stand in JSON.
//! 8. [`http`]: the routes.
//! 9. [`config`]: the settings.
//! 10. [`cli`]: the commands.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod audit;
pub mod back_off;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod key_files;
pub mod metrics;
pub mod pool;
pub mod provider;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod wire;
