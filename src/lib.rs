//! keylend lends API keys.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod domain;
pub mod pool;
pub mod store;
