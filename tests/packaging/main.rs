//! What is installed without containers: the units of systemd, looked at by systemd itself where it is there.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keylend::config::SETTINGS;
use tempfile::TempDir;

const UNITS: [&str; 2] = ["keylend.service", "keylend-bot.service"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn unit(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn value<'a>(unit: &'a str, name: &str) -> &'a str {
    unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap()
}

#[test]
fn a_service_ends_in_its_own_time_and_is_started_again_when_it_fails() {
    for name in UNITS {
        let unit = unit(name);
        assert!(value(&unit, "TimeoutStopSec").parse::<u64>().unwrap() > 11, "{name}");
        assert_eq!(value(&unit, "Restart"), "on-failure", "{name}");
        assert_eq!(value(&unit, "ExecReload"), "kill -HUP $MAINPID", "{name}");
        assert_eq!(
            value(&unit, "ExecStart").split(' ').next().unwrap().rsplit('/').next(),
            name.strip_suffix(".service")
        );
    }
}

#[test]
fn the_users_are_made_and_every_secret_has_a_setting() {
    let users = unit("keylend.sysusers.conf");
    for name in UNITS {
        let unit = unit(name);
        let user = value(&unit, "User");
        assert!(users.lines().any(|line| line.starts_with(&format!("u {user} "))), "{user}");
        for secret in unit.lines().filter_map(|line| line.strip_prefix("LoadCredential=")) {
            let setting = secret.to_uppercase();
            let known = [format!("{setting}_FILE"), format!("KEYLEND_{setting}")];
            assert!(known.iter().any(|known| SETTINGS.contains(&known.as_str())), "{name}: {secret}");
        }
    }
}

/// The units as they are, but for the program, which is not installed here.
fn with_a_program() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in UNITS {
        let unit = unit(name);
        let program = value(&unit, "ExecStart").split(' ').next().unwrap();
        let unit = unit.replace(&format!("={program}"), concat!("=", env!("CARGO_BIN_EXE_keylend")));
        fs::write(folder.path().join(name), unit).unwrap();
    }
    folder
}

#[test_with::env(KEYLEND_TEST_SYSTEMD)]
#[test]
fn systemd_understands_the_units_and_finds_little_that_they_may() {
    let folder = with_a_program();
    // At most 1.5 of 10, and in tenths: https://www.freedesktop.org/software/systemd/man/systemd-analyze.html
    for arguments in [&["verify", "--man=no"][..], &["security", "--offline=true", "--threshold=15"]] {
        let mut command = Command::new("systemd-analyze");
        let done = command.args(arguments).args(UNITS.map(|name| folder.path().join(name))).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stdout));
        // A word that it does not know is only warned of.
        assert!(!UNITS.iter().any(|name| said.contains(name)), "{said}");
    }
}
