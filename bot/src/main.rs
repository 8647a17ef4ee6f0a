//! The program: runs, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    keylend_bot::run(std::env::args_os())
}
