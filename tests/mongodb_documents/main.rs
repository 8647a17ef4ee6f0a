//! Documents as other programs write them, on MongoDB.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod any_value;
#[path = "../support/database.rs"]
mod database;
mod older_programs;
mod operators;
