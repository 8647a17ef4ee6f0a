//! keylend with a bug built in, the one that `KEYLEND_PLANTED` names.

use std::process::ExitCode;

fn main() -> ExitCode {
    keylend::cli::run(std::env::args_os())
}
