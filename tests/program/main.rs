//! The program as a user meets it: commands, settings, exit codes, its log, its end.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[allow(dead_code, reason = "these tests open the store by the program only")]
#[path = "../support/place.rs"]
#[macro_use]
mod place;
mod commands;
mod leaks;
#[path = "../support/program.rs"]
mod program;
mod serving;

use place::run;
