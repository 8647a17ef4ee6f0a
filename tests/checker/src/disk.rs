//! A disk of the run's own, which may be filled: a small one in memory, in a place that only this process and those that
//! it starts can see, and that is gone with them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tempfile::TempDir;

/// Where that disk is, for the process that runs on it.
const FOLDER: &str = "KEYLEND_CHECKER_DISK";

/// Where the folders of the rounds are made.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os(FOLDER).map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Keeps the logs of a round, and answers where.
pub(crate) fn keep(round: TempDir) -> PathBuf {
    if std::env::var_os(FOLDER).is_none() {
        return round.keep();
    }
    // Its disk is gone with this process.
    let logs = tempfile::tempdir().and_then(|kept| {
        copy_logs(round.path(), kept.path())?;
        Ok(kept.keep())
    });
    logs.unwrap_or_else(|_| round.keep())
}

fn copy_logs(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        if let (Some(name), true) = (path.file_name(), path.extension().is_some_and(|end| end == "log")) {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
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
