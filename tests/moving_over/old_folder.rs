//! A folder as the older server leaves it, in which `keylend` alone is typed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{Program, keylend, tells};

on_both_stores!(the_old_env_starts_the_server, what_the_old_log_told_is_told,);

/// A folder laid out as the old documents say.
pub struct OldFolder(pub TempDir);

impl OldFolder {
    pub fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(
            ".env",
            "LOG_FILE=api_server.log\nFLASK_DEBUG=False\nFLASK_RUN_PORT=5000\nDISCORD_BOT_TOKEN=your_discord_bot_token\n\
             STATS_API=http://localhost:5000/api/stats\n",
        );
        folder.write("plantid.txt", "plant-1-0123456789\nplant-2-0123456789\nplant-3-0123456789\n");
        folder.write("healthid.txt", "health-1-0123456789\nhealth-2-0123456789\n");
        folder.write("api_state.json", r#"{"plantid": 37, "healthid": 0}"#);
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// `keylend` with the settings of the place, in the folder.
    pub fn keylend(&self, place: &Place, arguments: &[&str]) -> Command {
        keylend(&self.0, &place.settings(), arguments)
    }

    /// Serves on a free port, and logs where the `.env` says.
    pub fn serve(&self, place: &Place) -> Program {
        Program::serve_logging_to(self.keylend(place, &[]), &self.path("api_server.log"))
    }
}

pub async fn get(url: &str) -> Value {
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    answer.json().await.unwrap()
}

async fn the_old_env_starts_the_server(place: Place) {
    let folder = OldFolder::new();
    // The port of the documents may be taken on this machine.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    folder.write(".env", &folder.read(".env").replace("5000", &port.to_string()));
    let files = ["plantid.txt", "healthid.txt", "api_state.json", ".env"];
    let before = files.map(|name| folder.read(name));
    let program = Program::serve_as_it_is(folder.keylend(&place, &[]), &folder.path("api_server.log"));
    assert_eq!(program.url, format!("http://127.0.0.1:{port}"));
    assert_eq!(get(&format!("{}/api/plantid", program.url)).await, serde_json::json!({"Key": "plant-1-0123456789"}));
    assert_eq!(get(&format!("{}/api/healthid", program.url)).await, serde_json::json!({"Key": "health-1-0123456789"}));
    let stats = get(&format!("{}/api/stats", program.url)).await;
    assert_eq!(stats["requests"]["plantid"]["requests_until_rotation"], 62);
    assert_eq!(stats["keys"]["healthid"], serde_json::json!({"keys_available": 2, "status": "Keys available"}));
    let (status, log) = program.terminate();
    assert!(status.success() && !log.contains("0123456789") && !log.contains("your_discord_bot_token"), "{log}");
    // That other databases of a test's server have keys is no fault of the folder.
    let is_warning = |line: &str| line.contains("WARN") && !line.contains("set MONGODB_DATABASE=");
    assert!(log.contains("INFO") && !log.contains("DEBUG") && !log.lines().any(is_warning), "{log}");
    assert_eq!(files.map(|name| folder.read(name)), before);
}

/// Each row of the paper's table of the two logs.
async fn what_the_old_log_told_is_told(place: Place) {
    let folder = OldFolder::new();
    folder.write("plantid.txt", "plant-1-0123456789\nplant-2-0123456789\n");
    folder.write("api_state.json", r#"{"plantid": 99, "healthid": "many"}"#);
    let mut program = folder.serve(&place);
    let log = program.log();
    assert!(log.lines().any(|line| tells(line, "state_taken_over") && line.contains("pool=plantid")), "{log}");
    assert!(log.contains("the state file: its counter is no number"), "{log}");
    for (key, times) in [("plant-1-0123456789", 1), ("plant-2-0123456789", 100), ("File is empty", 1)] {
        for _ in 0..times {
            assert_eq!(get(&format!("{}/api/plantid", program.url)).await["Key"], key);
        }
    }
    for event in ["rotated", "pool_dry"] {
        program.wait_for(|log| log.lines().any(|line| tells(line, event)).then_some(()));
    }
    fs::remove_file(folder.path("plantid.txt")).unwrap();
    program.wait_for(|log| log.contains("the key file: there is no such file").then_some(()));
    fs::create_dir(folder.path("plantid.txt")).unwrap();
    program.wait_for(|log| log.contains("the key file: it is no file").then_some(()));
    let (status, log) = program.terminate();
    let told = |event| log.lines().any(|line| tells(line, event));
    assert!(status.success() && ["started", "stopping", "stopped"].into_iter().all(told), "{log}");
    assert!(log.lines().any(|line| tells(line, "stopped") && line.contains("stored")), "{log}");
}
