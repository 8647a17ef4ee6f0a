//! A disk of the run's own, which may be filled: a small one in memory, in a place that only this process and those that
//! it starts can see, and that is gone with them.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Where that disk is, for the process that runs on it.
const FOLDER: &str = "KEYLEND_CHECKER_DISK";

/// Where the folders of the rounds are made.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os(FOLDER).map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Runs this program once more, on such a disk, and answers what it ended with; None = this is that run.
pub(crate) fn on_its_own(size: &str) -> Option<ExitCode> {
    if std::env::var_os(FOLDER).is_some() {
        return None;
    }
    Some(run(size).unwrap_or_else(|why| {
        eprintln!("checker: there can be no disk of its own here: {why}");
        ExitCode::from(2)
    }))
}

fn run(size: &str) -> Result<ExitCode, String> {
    let told = |error: std::io::Error| error.to_string();
    let folder = tempfile::tempdir().map_err(told)?;
    let this = std::env::current_exe().map_err(told)?;
    // The folder is the first argument of the script, the size the second, this program the third.
    let script = "mount -t tmpfs -o size=$2 tmpfs \"$1\" && shift 2 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    command.arg(folder.path()).arg(size).arg(this).args(std::env::args_os().skip(1));
    let ended = command.env(FOLDER, folder.path()).status().map_err(told)?;
    Ok(ExitCode::from(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2)))
}
