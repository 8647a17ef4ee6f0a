//! The program: parses, dispatches, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    keylend::cli::run(std::env::args_os())
}
