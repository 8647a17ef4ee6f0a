//! The program as a user meets it: commands, settings, exit codes, its log, its end.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[allow(dead_code, reason = "these tests open the store by the program only")]
#[path = "../support/place.rs"]
#[macro_use]
mod place;
mod audit;
mod backup;
mod check;
mod commands;
mod encrypted;
mod generate;
mod health;
mod leaks;
mod log;
mod operators;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/provider.rs"]
mod provider;
#[allow(dead_code, reason = "these tests break a way in few of the ways there are")]
#[path = "../support/proxy.rs"]
mod proxy;
mod serving;
mod settings;
mod tls;
mod tokens;
mod verify;

use place::run;
