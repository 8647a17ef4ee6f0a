//! The routes, on both stores: the same requests get the same answers.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../support/place.rs"]
#[macro_use]
mod place;
mod access;
mod cases;
mod events;
mod export;
#[path = "../lending/faulty.rs"]
mod faulty;
mod find_usable_key;
mod flask;
mod frame;
mod health;
mod increment_usage;
mod keys;
mod leases;
mod look_up;
mod metrics;
mod openapi;
mod operators;
mod page;
mod problems;
mod server;
mod stats;

use place::run;
