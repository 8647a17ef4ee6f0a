//! The program: parses, runs, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    keylend_migrate::command::run(std::env::args_os())
}
