use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use keylend::domain::TokenSecret;
use serde_json::{Value, json};

use crate::place::Place;
use crate::program::{PATIENCE, Program, keylend, output, tells};

on_both_stores!(
    a_server_says_where_it_is_and_ends_when_told,
    commands_work_beside_a_running_server,
    a_second_signal_stops_at_once,
    the_log_tells_of_each_request,
    a_name_that_leads_here_is_no_way_in,
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
    let added = output(keylend(&folder, &settings, &["keys", "add"]), "sk-0123456789abcdef");
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

/// What a browser sends for a page of another site whose name leads to this machine: for it, both are one site.
async fn a_name_that_leads_here_is_no_way_in(place: Place) {
    let token = TokenSecret::new("klt_tester");
    let entry = format!("tester:service:{}", token.digest());
    for (set, with_token, status) in [
        (vec![], false, 403),
        (vec![("KEYLEND_HOSTS", "Keys.Example,other".to_owned())], false, 200),
        (vec![("KEYLEND_HOSTS", "other".to_owned())], false, 403),
        (vec![("KEYLEND_TOKENS", entry.clone())], true, 200),
        (vec![("KEYLEND_TOKENS", entry.clone()), ("KEYLEND_HOSTS", "other".to_owned())], true, 403),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let settings: Vec<_> = place.settings().into_iter().chain(set.iter().cloned()).collect();
        let program = Program::serve(keylend(&folder, &settings, &[]));
        let client = reqwest::Client::new();
        let ask = async |path: &str, host: &str| {
            let request = client.get(format!("{}{path}", program.url)).header("host", host);
            let request = request.header("sec-fetch-site", "same-origin");
            let request = if with_token { request.bearer_auth("klt_tester") } else { request };
            request.send().await.unwrap()
        };
        let port = program.url.rsplit_once(':').unwrap().1;
        let answer = ask("/api/plantid", &format!("keys.example:{port}")).await;
        assert_eq!(answer.status(), status, "{set:?}");
        if status == 403 {
            let problem: Value = answer.json().await.unwrap();
            assert!(problem["detail"].as_str().unwrap().contains("KEYLEND_HOSTS"), "{problem}");
        }
        assert_eq!(ask("/api/plantid", &format!("localhost:{port}")).await.status(), 200, "{set:?}");
        // It tells nothing that anybody may not know, and is asked by address or by any name.
        assert_eq!(ask("/livez", "keys.example").await.status(), 200);
    }
}

async fn a_second_signal_stops_at_once(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::serve(keylend(&folder, &place.settings(), &[]));
    // A request whose body never comes to its end; that it is waited for is told by the interim answer.
    let mut caller = std::net::TcpStream::connect(program.url.trim_start_matches("http://")).unwrap();
    let head = "POST /v1/pools/stability/keys HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
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

async fn the_log_tells_of_each_request(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let (secret, token) = ("klt_of_this_test", TokenSecret::new("klt_of_this_test"));
    let mut settings = place.settings();
    settings.push(("RUST_LOG", "keylend=debug".to_owned()));
    settings.push(("KEYLEND_TOKENS", format!("web:admin:{}", token.digest())));
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let client = reqwest::Client::new();
    let ask = async |method: reqwest::Method, path: &str, id: &str, body: Value| {
        let request = client.request(method, format!("{}{path}", program.url)).bearer_auth(secret).json(&body);
        let answer = request.header("x-request-id", id).send().await.unwrap();
        assert_eq!(answer.headers()["x-request-id"], id);
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let post = reqwest::Method::POST;
    ask(post.clone(), "/v1/pools/stability/keys", "add-1", json!({"api_keys": ["sk-one"]})).await;
    let (status, lent) = ask(post.clone(), "/v1/pools/stability/leases", "lease-1", json!({})).await;
    assert_eq!(status, 201);
    let lease = format!("/v1/leases/{}", lent["lease_id"].as_str().unwrap());
    let rejected = json!({"outcome": "rejected"});
    assert_eq!(ask(post.clone(), &format!("{lease}/report"), "report-1", rejected.clone()).await.0, 200);
    assert_eq!(ask(post, &format!("{lease}/report"), "report-2", rejected).await.0, 410);
    assert_eq!(client.get(format!("{}/v1/stats", program.url)).send().await.unwrap().status(), 401);

    let (_, log) = program.terminate();
    let line = |parts: &[&str]| {
        let found = log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {parts:?}: {log}");
    };
    line(&["request.id=\"add-1\"", "event=\"admin\"", "by=\"web\"", "action=\"add\""]);
    line(&["request.id=\"lease-1\"", "method=POST", "route=\"/v1/pools/{pool}/leases\"", "status=201", "duration_ms="]);
    line(&["request.id=\"report-1\"", "event=\"key_disabled\""]);
    line(&["request.id=\"report-2\"", "route=\"/v1/leases/{lease_id}/report\"", "status=410"]);
    line(&["method=GET", "route=\"/v1/stats\"", "status=401"]);
    assert!(!log.contains(secret), "a token is logged: {log}");
    assert!(!log.contains(lease.rsplit('.').next().unwrap()), "a whole lease id is logged: {log}");
}

#[test]
fn a_server_without_files_left_goes_on_when_there_are_some_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.current_dir(folder.path()).env_clear();
    // So few that the half of them that is left for others is not enough.
    command.args(["-c", "ulimit -n 32; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_keylend")]);
    let mut program = Program::serve(command);
    assert!(program.log().contains("fewer connections than could be answered"), "{}", program.log());
    let address = program.url.trim_start_matches("http://").to_owned();
    let connections: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(&address).unwrap()).collect();
    program.wait_for(|log| log.contains("a connection could not be accepted").then_some(()));
    drop(connections);
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
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
