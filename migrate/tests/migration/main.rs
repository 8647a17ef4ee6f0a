//! The migration: the program on a database of its own, beside whoever else writes to it.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

mod any_value;
mod commands;
#[path = "../../../tests/support/database.rs"]
mod database;
#[path = "../../../tests/support/every_value.rs"]
mod every_value;
mod killed;
mod meanwhile;
mod moving_over;
mod samples;
mod support;
#[allow(dead_code, reason = "every block of this paper is typed, without a mark")]
#[path = "../../../tests/support/paper.rs"]
mod typed;
