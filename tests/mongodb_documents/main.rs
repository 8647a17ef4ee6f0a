//! Documents as other programs write them, on MongoDB.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod any_value;
#[path = "../support/database.rs"]
mod database;
mod encrypted;
#[path = "../support/every_value.rs"]
mod every_value;
mod older_programs;
mod operators;
