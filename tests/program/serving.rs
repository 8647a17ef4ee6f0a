use std::io::{Read, Write};
use std::process::Command;

use serde_json::{Value, json};

use crate::place::Place;
use crate::program::{Program, keylend, output, tells};

on_both_stores!(
    a_server_says_where_it_is_and_ends_when_told,
    commands_work_beside_a_running_server,
    a_second_signal_stops_at_once,
);

async fn a_server_says_where_it_is_and_ends_when_told(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(keylend(&folder, &place.settings(), &[]));
    let ready = reqwest::get(format!("{}/readyz", program.url)).await.unwrap();
    assert_eq!(ready.status(), 200);
    let started = program.log();
    for fact in ["store=", "usable=\"stability 0, plantid 0, healthid 0\"", "address=127.0.0.1:", "tokens="] {
        assert!(started.contains(fact), "{fact}: {started}");
    }
    let (status, log) = program.terminate();
    assert!(status.success(), "{status}");
    assert!(log.contains("event=\"stopping\"") && log.contains("event=\"stopped\""), "{log}");
    assert!(!log.contains('\u{1b}'), "colours in a log that is no terminal");
}

async fn commands_work_beside_a_running_server(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let settings = place.settings();
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let added = output(keylend(&folder, &settings, &["keys", "add", "sk-0123456789abcdef"]), "");
    assert!(added.status.success(), "{added:?}");
    let client = reqwest::Client::new();
    let lent = client.post(format!("{}/v1/pools/stability/leases", program.url)).send().await.unwrap();
    assert_eq!(lent.status(), 201);
    let lent: Value = lent.json().await.unwrap();
    assert_eq!(lent["api_key"], "sk-0123456789abcdef");
    let listed = output(keylend(&folder, &settings, &["keys", "list", "--json"]), "");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["left"], 3);
    let report = format!("{}/v1/leases/{}/report", program.url, lent["lease_id"].as_str().unwrap());
    let settled = client.post(report).json(&json!({"outcome": "used"})).send().await.unwrap();
    assert_eq!(settled.json::<Value>().await.unwrap()["usage_count"], 1);
}

async fn a_second_signal_stops_at_once(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::serve(keylend(&folder, &place.settings(), &[]));
    // A request whose body never comes to its end; that it is waited for is told by the interim answer.
    let mut caller = std::net::TcpStream::connect(program.url.trim_start_matches("http://")).unwrap();
    let head = "POST /v1/pools/stability/keys HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n\
                content-length: 100\r\nexpect: 100-continue\r\n\r\n";
    caller.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 12];
    caller.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100");
    program.signal("TERM");
    program.wait_for(|log| log.lines().any(|line| tells(line, "stopping")).then_some(()));
    program.signal("INT");
    let (status, log) = program.ended();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.lines().any(|line| tells(line, "stopped") && line.contains("SIGINT")), "{log}");
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command: Command = keylend(&folder, &[], &["serve", "--listen", &address]);
    let refused = command.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains(&address) && said.contains("KEYLEND_LISTEN"), "{said}");
}
