//! The older Flask server's place: its folder, its clients, its bot, and the paper on moving over.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../support/place.rs"]
#[macro_use]
mod place;
mod old_client;
mod old_folder;
mod paper;
#[path = "../support/program.rs"]
#[allow(dead_code, reason = "these tests start the program in one way")]
mod program;
#[allow(dead_code, reason = "every block of this paper is typed, without a mark")]
#[path = "../support/paper.rs"]
mod typed;

use place::run;
