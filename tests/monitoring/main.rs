//! What Prometheus makes of keylend: its own checks of the metrics, the rules and their tests, and a Prometheus that
//! reads a running server.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[allow(dead_code, reason = "these tests open no store themselves")]
#[path = "../support/place.rs"]
#[macro_use]
mod place;
#[path = "../support/program.rs"]
mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use keylend::domain::Timestamp;
use keylend::domain::stats::{Besides, Gathering};
use keylend::metrics::Metrics;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use program::{PATIENCE, Program, keylend, output};

/// One of Prometheus's programs, where tests/monitoring/up found it.
fn prometheus(name: &str) -> PathBuf {
    Path::new(&std::env::var("KEYLEND_TEST_PROMETHEUS").unwrap()).join(name)
}

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/prometheus")
}

#[track_caller]
fn is_fine(checked: &Output) {
    let text = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success() && !text.contains("FAILED"), "{text}");
}

#[test_with::env(KEYLEND_TEST_PROMETHEUS)]
#[test]
fn the_rules_are_right_and_tell_what_they_should() {
    for arguments in [
        &["check", "rules", "rules.yml"][..],
        &["check", "config", "prometheus.yml"],
        // The secret that it names is in the containers alone.
        &["check", "config", "--syntax-only", "containers.yml"],
    ] {
        is_fine(&Command::new(prometheus("promtool")).current_dir(rules()).args(arguments).output().unwrap());
    }
    let mut test = Command::new(prometheus("promtool"));
    is_fine(&test.current_dir(rules()).args(["test", "rules", "rules_test.yml"]).output().unwrap());
}

/// A rule about a metric that is not there never tells anything.
#[test]
fn the_rules_are_about_metrics_that_there_are() {
    let metrics = Metrics::default();
    let stats = Gathering::new(4, Timestamp::from_millis(0)).finish(Besides::default());
    metrics.pool(&"stability".parse().unwrap()).holds(Some(&stats));
    metrics.store().asked("lease", Duration::from_secs(1), Some("away"));
    let text = metrics.text(|_| true);
    let rules = std::fs::read_to_string(rules().join("rules.yml")).unwrap();
    let words = rules.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let named: Vec<&str> = words.filter(|word| word.starts_with("keylend_")).collect();
    assert!(named.len() > 4);
    for name in named {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

/// A running server that has been used.
async fn used_server(folder: &TempDir, client: &Client) -> Program {
    let program = Program::serve(keylend(folder, &[("KEYLEND_DATA", "keylend.db".to_owned())], &[]));
    let post = async |path: &str, body: Value| {
        let answer = client.post(format!("{}{path}", program.url)).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    post("/v1/pools/stability/keys", json!({"api_keys": ["sk-one", "sk-two"]})).await;
    let lease = post("/v1/pools/stability/leases", json!({})).await;
    post(&format!("/v1/leases/{}/report", lease["lease_id"].as_str().unwrap()), json!({"outcome": "rejected"})).await;
    post("/v1/pools/plantid/leases", json!({})).await;
    program
}

#[test_with::env(KEYLEND_TEST_PROMETHEUS)]
#[tokio::test]
async fn the_metrics_are_as_prometheus_wants_them() {
    let (folder, client) = (tempfile::tempdir().unwrap(), Client::new());
    let program = used_server(&folder, &client).await;
    let text = client.get(format!("{}/metrics", program.url)).send().await.unwrap().text().await.unwrap();
    let mut check = Command::new(prometheus("promtool"));
    check.args(["check", "metrics"]);
    let checked = output(check, &text);
    is_fine(&checked);
    // What it would have otherwise it says on stderr, and is content all the same.
    assert_eq!(String::from_utf8_lossy(&checked.stderr), "");
}

#[test_with::env(KEYLEND_TEST_PROMETHEUS)]
#[tokio::test]
async fn a_prometheus_reads_them_and_answers_from_them() {
    let (folder, client) = (tempfile::tempdir().unwrap(), Client::new());
    let program = used_server(&folder, &client).await;
    let address = program.url.trim_start_matches("http://");
    let config = std::fs::read_to_string(rules().join("prometheus.yml")).unwrap();
    let config = config.replace("keylend:5000", address).replace("15s", "1s");
    std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    std::fs::copy(rules().join("rules.yml"), folder.path().join("rules.yml")).unwrap();
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(prometheus("prometheus"));
    command.current_dir(folder.path()).arg(format!("--web.listen-address={own}"));
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    let mut reader = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let value = async |query: &str| {
        let query = serde_urlencoded::to_string([("query", query)]).unwrap();
        let asked = client.get(format!("http://{own}/api/v1/query?{query}")).send().await.ok()?;
        let answer: Value = asked.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    let deadline = Instant::now() + PATIENCE;
    let expected = [
        (r#"up{job="keylend"}"#, "1"),
        (r#"keylend_keys{pool="stability",state="usable"}"#, "1"),
        (r#"keylend_key_transitions_total{pool="stability",reason="rejected"}"#, "1"),
        (r#"keylend_empty_answers_total{pool="plantid",reason="no_keys"}"#, "1"),
        (r#"sum(keylend_hand_out_seconds_bucket{pool="stability",kind="lease",le="+Inf"})"#, "1"),
    ];
    let mut missing = Vec::new();
    while Instant::now() < deadline {
        missing.clear();
        for (query, expected) in expected {
            let seen = value(query).await;
            if seen.as_deref() != Some(expected) {
                missing.push((query, seen));
            }
        }
        if missing.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert_eq!(missing, []);
}
