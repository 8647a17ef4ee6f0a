//! Every use is counted exactly: by crowds in several processes, through kill -9, over several servers, on both
//! stores.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../support/combine.rs"]
mod combine;
#[path = "../support/place.rs"]
#[macro_use]
mod place;
mod servers;
mod support;

mod crowd;
mod limits;

use place::run;
