//! Key files, as people, scripts and the older Flask server leave them: taken over and followed.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../support/place.rs"]
#[macro_use]
mod place;
mod back;
mod editors;
mod faults;
#[allow(dead_code, reason = "these tests stall a store in one way")]
#[path = "../lending/faulty.rs"]
mod faulty;
mod folder;
mod instances;
mod lines;
mod old_state;
mod program;
#[path = "../support/program.rs"]
#[allow(dead_code, reason = "these tests start the program in one way")]
mod program_under_test;

use place::run;
