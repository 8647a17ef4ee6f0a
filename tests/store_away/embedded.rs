//! The embedded store: its file locked, moved away, and on a disk that is full.

use std::path::PathBuf;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::Load;
use crate::program::{Program, keylend};
use crate::{LIMIT, run, until};

const LEASED: usize = 250;
const INCREMENTED: usize = 8;

/// A keylend on a file of its own.
struct Embedded {
    folder: TempDir,
    program: Program,
    client: reqwest::Client,
    load: Load,
}

impl Embedded {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let settings = [
            ("KEYLEND_DATA", file(&folder).display().to_string()),
            ("KEYLEND_STORE_TIMEOUT", format!("{}ms", LIMIT.as_millis())),
        ];
        let keylend = keylend(&folder, &settings, &[]);
        // A file that may not grow is an error of the write, as on a full disk, and not the end of the process.
        let mut command = Command::new("bash");
        command.args(["-c", r#"trap '' XFSZ; exec "$@""#, "bash"]).arg(keylend.get_program());
        command.current_dir(folder.path()).env_clear();
        command.envs(keylend.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let program = Program::serve(command);
        let client = reqwest::Client::new();
        for (pool, count) in [("stability", LEASED), ("healthid", INCREMENTED)] {
            let added = client.post(format!("{}/v1/pools/{pool}/keys", program.url));
            let added = added.json(&json!({"api_keys": keys(pool, count)})).send().await.unwrap();
            assert_eq!(added.status(), StatusCode::OK);
        }
        let load = Load::start(&program.url, &keys("healthid", INCREMENTED));
        load.all_served().await;
        Self { folder, program, client, load }
    }

    fn file(&self) -> PathBuf {
        file(&self.folder)
    }

    /// With the store away from here on: every request is refused in time, and the process lives.
    async fn refuse_everything(&self) {
        self.load.store_is_away();
        self.load.all_refused().await;
        let alive = self.client.get(format!("{}/livez", self.program.url)).send().await.unwrap();
        assert_eq!(alive.status(), StatusCode::OK);
        self.load.store_is_back();
    }

    /// With the store back: every request is served, and what callers count on is what the file has.
    async fn serve_again_exactly(self) {
        self.load.all_served().await;
        let tally = self.load.end().await;
        let uses = async |pool: &str, of: &str| -> u64 {
            let stats = self.client.get(format!("{}/v1/pools/{pool}/stats", self.program.url)).send().await.unwrap();
            // Not now, that is: the next answer tells.
            let stats: Value = stats.json().await.unwrap();
            stats["uses"][of].as_u64().unwrap_or(u64::MAX)
        };
        until("no lease is open", async || uses("stability", "leased").await == 0).await;
        let used: u64 = tally.used.values().sum();
        until("every lease reported as used is counted once", async || uses("stability", "counted").await == used)
            .await;
        let acknowledged: u64 = tally.counted.values().map(|(acknowledged, _)| acknowledged).sum();
        let unknown: u64 = tally.counted.values().map(|(_, unknown)| unknown).sum();
        let counted = uses("healthid", "counted").await;
        let expected = acknowledged..=acknowledged + unknown;
        assert!(expected.contains(&counted), "{counted} of {expected:?} increments");
        let lines = self.program.log().lines().count();
        assert!(lines < 50, "{}", self.program.log());
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("data/keylend.db")
}

fn keys(pool: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("sk-{pool}-{number}")).collect()
}

#[test]
fn a_file_that_another_process_keeps_locked_is_waited_for_until_the_time_limit() {
    run(async {
        let embedded = Embedded::start().await;
        let mut other = rusqlite::Connection::open(embedded.file()).unwrap();
        other.busy_timeout(crate::PATIENCE).unwrap();
        let locked = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        embedded.refuse_everything().await;
        locked.rollback().unwrap();
        embedded.serve_again_exactly().await;
    });
}

#[test]
fn a_file_that_was_moved_away_is_not_written_to_until_it_is_back() {
    run(async {
        let embedded = Embedded::start().await;
        let (place, elsewhere) = (embedded.folder.path().join("data"), embedded.folder.path().join("elsewhere"));
        std::fs::rename(&place, &elsewhere).unwrap();
        embedded.refuse_everything().await;
        std::fs::rename(&elsewhere, &place).unwrap();
        embedded.serve_again_exactly().await;
    });
}

// Only there a running process can be kept from the disk by its limits.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_loses_nothing_and_is_used_again_when_there_is_room() {
    run(async {
        let embedded = Embedded::start().await;
        let limit_files = |limit: &str| {
            let process = embedded.program.id().to_string();
            let limited = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={limit}:")]).status();
            assert!(limited.expect("util-linux has prlimit").success());
        };
        limit_files("1");
        embedded.refuse_everything().await;
        limit_files("unlimited");
        embedded.serve_again_exactly().await;
    });
}
