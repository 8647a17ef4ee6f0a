//! The log: one test per event that it tells, as text on stderr and as JSON in a file; what SIGHUP does to it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{Program, keylend, output, tells};
use crate::proxy::{Fault, Proxy};

on_both_stores!(
    the_start_and_the_end_are_told,
    a_key_that_rests_or_is_disabled_is_told,
    a_pool_that_goes_to_its_next_key_and_runs_dry_is_told,
    leases_that_lapse_are_told,
    an_import_is_told,
    the_trace_of_a_caller_stands_on_the_lines_of_its_request,
    what_an_operator_does_is_told_in_the_log_file,
    a_moved_log_file_is_left_and_no_line_is_lost,
);

/// A server that logs JSON into a file.
struct Logging {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    file: PathBuf,
    program: Program,
    client: Client,
}

impl Logging {
    fn start(place: &Place, toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keylend.toml"), toml).unwrap();
        let mut settings = place.settings();
        settings.push(("LOG_FILE", "keylend.log".to_owned()));
        settings.push(("KEYLEND_LOG_FORMAT", "json".to_owned()));
        let file = folder.path().join("keylend.log");
        let program = Program::serve_logging_to(keylend(&folder, &settings, &[]), &file);
        Self { folder, settings, file, program, client: Client::new() }
    }

    /// The first line that tells an event, as soon as there is one.
    fn told(&mut self, event: &str) -> Value {
        let line = self.program.wait_for(|log| log.lines().find(|line| tells(line, event)).map(str::to_owned));
        serde_json::from_str(&line).unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.client.post(format!("{}{path}", self.program.url)).json(&body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn add(&self, pool: &str, keys: &[&str]) {
        let (status, _) = self.post(&format!("/v1/pools/{pool}/keys"), json!({"api_keys": keys})).await;
        assert_eq!(status, StatusCode::OK);
    }

    async fn lease(&self, pool: &str, body: Value) -> Option<Value> {
        let (status, lease) = self.post(&format!("/v1/pools/{pool}/leases"), body).await;
        (status == StatusCode::CREATED).then_some(lease)
    }

    /// Leases a key and reports it.
    async fn report(&self, pool: &str, report: Value) -> Value {
        let lease = self.lease(pool, json!({})).await.unwrap();
        let path = format!("/v1/leases/{}/report", lease["lease_id"].as_str().unwrap());
        assert_eq!(self.post(&path, report).await.0, StatusCode::OK);
        lease
    }
}

/// A lease's id as the log may hold it: without its random part.
fn loggable(lease: &Value) -> String {
    let id = lease["lease_id"].as_str().unwrap();
    id.rsplit_once('.').unwrap().0.to_owned()
}

async fn the_start_and_the_end_are_told(place: Place) {
    let mut logging = Logging::start(&place, "");
    let read = logging.told("settings_read");
    assert_eq!((&read["pools"], &read["tokens"]), (&json!(3), &json!(0)));
    let started = logging.told("started");
    assert_eq!(started["usable"], "stability 0, plantid 0, healthid 0");
    assert_eq!(started["tokens"], "none needed");
    assert_eq!(format!("http://{}", started["address"].as_str().unwrap()), logging.program.url);
    let store = if matches!(place, Place::Folder(_)) { "SQLite file " } else { "MongoDB" };
    assert!(started["store"].as_str().unwrap().starts_with(store), "{started}");
    let (status, log) = logging.program.terminate();
    assert!(status.success());
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last: Vec<&Value> = lines.iter().rev().take(2).map(|line| &line["event"]).collect();
    assert_eq!(last, ["stopped", "stopping"]);
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let mode = std::fs::metadata(&logging.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

async fn a_key_that_rests_or_is_disabled_is_told(place: Place) {
    let mut logging = Logging::start(&place, "");
    logging.add("stability", &["sk-log-0123456789a"]).await;
    logging.add("plantid", &["sk-log-0123456789b"]).await;
    for (pool, report, event) in [
        ("stability", json!({"outcome": "rate_limited", "retry_after_seconds": 60}), "key_rested"),
        ("plantid", json!({"outcome": "rejected"}), "key_disabled"),
    ] {
        let lease = logging.report(pool, report.clone()).await;
        let told = logging.told(event);
        assert_eq!((&told["pool"], &told["key.id"]), (&json!(pool), &lease["id"]));
        assert_eq!((&told["outcome"], &told["lease.id"]), (&report["outcome"], &json!(loggable(&lease))));
    }
}

async fn a_pool_that_goes_to_its_next_key_and_runs_dry_is_told(place: Place) {
    let mut logging = Logging::start(&place, "[pools.plantid]\nuses_per_key = 1\n");
    logging.add("plantid", &["sk-log-0123456789a", "sk-log-0123456789b"]).await;
    logging.lease("plantid", json!({})).await.unwrap();
    let second = logging.lease("plantid", json!({})).await.unwrap();
    let rotated = logging.told("rotated");
    assert_eq!((&rotated["pool"], &rotated["key.id"]), (&json!("plantid"), &second["id"]));
    assert!(logging.lease("plantid", json!({})).await.is_none(), "the file's policy is the one that is lent by");
    assert_eq!(logging.told("pool_dry")["pool"], "plantid");
}

async fn leases_that_lapse_are_told(place: Place) {
    let mut logging = Logging::start(&place, "");
    logging.add("stability", &["sk-log-0123456789a"]).await;
    logging.lease("stability", json!({"ttl_seconds": 1})).await.unwrap();
    let told = logging.told("leases_lapsed");
    assert_eq!((&told["pool"], &told["count"]), (&json!("stability"), &json!(1)));
}

async fn the_trace_of_a_caller_stands_on_the_lines_of_its_request(place: Place) {
    let mut logging = Logging::start(&place, "");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let add = logging.client.post(format!("{}/v1/pools/stability/keys", logging.program.url));
    let add = add.header("traceparent", trace).json(&json!({"api_keys": ["sk-log-0123456789a"]}));
    assert_eq!(add.send().await.unwrap().status(), StatusCode::OK);
    for event in ["admin", "import_done"] {
        let told = logging.told(event);
        assert_eq!(told["trace.id"], "4bf92f3577b34da6a3ce929d0e0e4736", "{told}");
        assert_eq!(told["trace.parent"], "00f067aa0ba902b7", "{told}");
    }
    // And on no others.
    assert!(logging.told("started").get("trace.id").is_none());
}

async fn an_import_is_told(place: Place) {
    let mut logging = Logging::start(&place, "");
    logging.add("stability", &["sk-log-0123456789a", "sk-log-0123456789a", "a b"]).await;
    let told = logging.told("import_done");
    assert_eq!((&told["pool"], &told["added"], &told["known"]), (&json!("stability"), &json!(1), &json!(1)));
    assert_eq!(told["invalid"], 1);
}

async fn what_an_operator_does_is_told_in_the_log_file(place: Place) {
    let mut logging = Logging::start(&place, "");
    logging.add("stability", &["sk-log-0123456789a"]).await;
    let run = |arguments: &[&str]| output(keylend(&logging.folder, &logging.settings, arguments), "");
    let listed = run(&["keys", "list", "--json"]);
    let id = serde_json::from_slice::<Value>(&listed.stdout).unwrap()["id"].as_str().unwrap().to_owned();
    let disabled = run(&["keys", "disable", &id]);
    assert!(disabled.status.success(), "{disabled:?}");
    let told = logging.program.wait_for(|log| {
        log.lines().find(|line| tells(line, "admin") && line.contains("a key was disabled")).map(str::to_owned)
    });
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["by"], &told["pool"], &told["key.id"]),
        (&json!("the command line"), &json!("stability"), &json!(id))
    );
}

async fn a_moved_log_file_is_left_and_no_line_is_lost(place: Place) {
    let mut logging = Logging::start(&place, "");
    let moved = logging.folder.path().join("keylend.log.1");
    std::fs::rename(&logging.file, &moved).unwrap();
    logging.program.signal("HUP");
    // Reading the settings is told after the file was opened anew.
    logging.told("settings_read");
    let before = std::fs::read_to_string(&moved).unwrap();
    assert!(before.lines().any(|line| tells(line, "started")), "{before}");
    let (_, after) = logging.program.terminate();
    let events: Vec<Value> =
        after.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone()).collect();
    assert_eq!(events, ["settings_read", "stopping", "stopped"]);
}

#[test]
fn a_log_file_that_cannot_be_opened_is_a_fault_of_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("LOG_FILE", "missing/keylend.log".to_owned())];
    let done = output(keylend(&folder, &settings, &["serve", "--listen", "127.0.0.1:0"]), "");
    assert_eq!(done.status.code(), Some(64));
    assert!(String::from_utf8(done.stderr).unwrap().contains("LOG_FILE: the file cannot be opened"));
    // It keeps nobody from a command, and nothing was opened before it was found out.
    assert!(!folder.path().join("keylend.db").exists());
    assert_eq!(output(keylend(&folder, &settings, &["keys", "add"]), "sk-log-0123456789a").status.code(), Some(0));
}

#[test]
fn an_embedded_store_that_another_program_holds_is_told_as_lost_and_back() {
    crate::run(async {
        let place = Place::sqlite();
        let mut logging = Logging::start(&place, "store_timeout = \"100ms\"\n");
        let Place::Folder(folder) = &place else { unreachable!() };
        let holder = rusqlite::Connection::open(folder.path().join("keylend.db")).unwrap();
        holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let lost = logging.told("store_lost");
        assert!(lost["error"].is_string() && lost["store"].as_str().unwrap().starts_with("SQLite file"), "{lost}");
        holder.execute_batch("COMMIT").unwrap();
        let back = logging.told("store_back");
        assert!(back["duration_ms"].is_u64() && back["store"] == lost["store"], "{back}");
    });
}

#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
#[test]
fn a_mongodb_that_is_not_there_yet_is_waited_for_and_said_so() {
    crate::run(async {
        let place = Place::mongodb();
        let Place::Database(database) = &place else { unreachable!() };
        let server = database.uri.split("://").nth(1).unwrap().split(['/', '?']).next().unwrap();
        let server = server.rsplit('@').next().unwrap().parse().expect("the test server is named by its address");
        let proxy = Proxy::to(server, Fault::Cut).await;
        let folder = tempfile::tempdir().unwrap();
        let settings = [
            ("MONGODB_URI", format!("mongodb://{}/?directConnection=true", proxy.address)),
            ("MONGODB_DATABASE", database.name.clone()),
            ("KEYLEND_STORE_TIMEOUT", "1s".to_owned()),
        ];
        let mut program = Program::start(keylend(&folder, &settings, &[]), "settings_read");
        let waited = |log: &str| (log.matches("waiting for the store").count() > 1).then_some(());
        program.wait_for(waited);
        assert!(program.log().lines().any(|line| tells(line, "store_lost")));
        for (path, status) in [("livez", 200), ("readyz", 503)] {
            assert_eq!(reqwest::get(format!("{}/{path}", program.url)).await.unwrap().status(), status, "{path}");
        }
        proxy.set(Fault::None);
        program.wait_for(|log| log.lines().find(|line| tells(line, "started")).map(str::to_owned));
        let back = program.wait_for(|log| log.lines().find(|line| tells(line, "store_back")).map(str::to_owned));
        assert!(back.contains("duration_ms="), "{back}");
        assert_eq!(reqwest::get(format!("{}/readyz", program.url)).await.unwrap().status(), 200);
        let (status, _) = program.terminate();
        assert!(status.success());
    });
}
