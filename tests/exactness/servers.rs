//! Three real servers on one store: what one of them says holds for all.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use keylend::domain::Policy;
use keylend::domain::pool::COOL_DOWN;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::place::Place;
use crate::support::raw::Raw;
use crate::support::server::{Answer, Server};
use crate::support::{fill, within};

on_both_stores!(
    servers_started_at_once_on_a_new_store_all_serve,
    one_idempotency_key_gets_one_lease_whichever_server_it_reaches,
    the_last_use_goes_to_one_of_a_hundred_callers,
    a_lease_of_a_killed_server_is_reported_to_another,
    a_server_told_to_stop_lets_a_running_request_end,
    a_crowd_that_finds_keys_spreads_over_fresh_keys,
    a_crowd_that_leases_keys_spreads_over_fresh_keys,
);

const LEASES: &str = "/v1/pools/stability/leases";

fn stability() -> Policy {
    let [stability, ..] = Policy::built_in();
    stability
}

async fn servers(place: &Place) -> [Server; 3] {
    let (one, two, three) = tokio::join!(Server::start(place), Server::start(place), Server::start(place));
    [one, two, three]
}

/// `count` requests at once, spread over the servers in turn.
async fn all_at_once<F: Future<Output = Answer>>(
    servers: &[Server; 3],
    count: usize,
    ask: impl Fn(usize) -> F,
) -> Vec<Answer> {
    assert!(count >= servers.len());
    within("all answers", join_all((0..count).map(ask))).await
}

async fn servers_started_at_once_on_a_new_store_all_serve(place: Place) {
    let [one, two, three] = servers(&place).await;
    let added = one.post("/v1/pools/stability/keys", json!({"api_keys": ["sk-0", "sk-1", "sk-2"]})).await;
    assert_eq!(added.body["added"], 3, "{added:?}");
    let (one, two, three) =
        tokio::join!(one.post(LEASES, Value::Null), two.post(LEASES, Value::Null), three.post(LEASES, Value::Null));
    all_answered(&[one, two, three], 201);
}

async fn one_idempotency_key_gets_one_lease_whichever_server_it_reaches(place: Place) {
    fill(&place, &stability(), 20).await;
    let servers = servers(&place).await;
    for round in 0..5 {
        let key = format!("order-{round}");
        let answers = all_at_once(&servers, 50, |number| {
            servers[number % 3].post_with(LEASES, Some(&key), json!({"ttl_seconds": 600}))
        });
        let answers = answers.await;
        let new = answers.iter().filter(|answer| answer.status == 201).count();
        let same = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((new, same), (1, 49), "{answers:?}");
        let leases: HashSet<&str> = answers.iter().map(|answer| answer.text("lease_id")).collect();
        assert_eq!(leases.len(), 1);
        let open: u64 = Raw::open(&place, &stability()).await.uses().await.values().map(|uses| uses.open).sum();
        assert_eq!(open, round + 1, "one lease in the store for each key");
    }
}

async fn the_last_use_goes_to_one_of_a_hundred_callers(place: Place) {
    fill(&place, &stability(), 1).await;
    let servers = servers(&place).await;
    for _ in 0..3 {
        let counted = servers[0].post("/v1/pools/stability/increment_usage", json!({"api_key": "sk-0"})).await;
        assert_eq!(counted.status, 200, "{counted:?}");
    }
    let answers = all_at_once(&servers, 100, |number| servers[number % 3].post(LEASES, Value::Null)).await;
    let leased: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    let refused = answers.iter().filter(|answer| answer.status == 503 && answer.body["code"] == "no_usable_key");
    assert_eq!((leased.len(), refused.count()), (1, 99), "{answers:?}");
    let report = format!("/v1/leases/{}/report", leased[0].text("lease_id"));
    let reports = all_at_once(&servers, 30, |number| servers[number % 3].post(&report, json!({"outcome": "used"})));
    let reports = reports.await;
    let settled = reports.iter().filter(|answer| answer.status == 200 && answer.body["usage_count"] == 4).count();
    let gone = reports.iter().filter(|answer| answer.status == 410).count();
    assert_eq!((settled, gone), (1, 29), "a lease settles once: {reports:?}");
}

async fn a_lease_of_a_killed_server_is_reported_to_another(place: Place) {
    fill(&place, &stability(), 3).await;
    let [mut first, second, third] = servers(&place).await;
    let lease = first.post(LEASES, json!({"ttl_seconds": 600})).await;
    assert_eq!(lease.status, 201, "{lease:?}");
    first.process.kill().await;
    let report = format!("/v1/leases/{}/report", lease.text("lease_id"));
    let settled = second.post(&report, json!({"outcome": "used"})).await;
    assert_eq!((settled.status, settled.body["usage_count"].as_u64()), (200, Some(1)), "{settled:?}");
    assert_eq!(settled.text("id"), lease.text("id"));
    let again = third.post(&report, json!({"outcome": "used"})).await;
    assert_eq!((again.status, again.text("code")), (410, "lease_gone"));
}

async fn a_server_told_to_stop_lets_a_running_request_end(place: Place) {
    fill(&place, &stability(), 3).await;
    let mut server = Server::start(&place).await;
    // The server says 100 when the handler wants the body: from then on the request is running.
    let body = r#"{"ttl_seconds": 600}"#;
    let head = format!(
        "POST {LEASES} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nexpect: \
         100-continue\r\n\r\n",
        body.len()
    );
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut running = [0; 25];
    within("100 Continue", connection.read_exact(&mut running)).await.unwrap();
    assert_eq!(&running[..], b"HTTP/1.1 100 Continue\r\n\r\n");

    server.process.terminate();
    server.process.log_with("event=\"stopping\"").await;
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", connection.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let lease: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(server.process.ended().await.code(), Some(0));
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");

    // The lease that was answered is the caller's: it was not given back on the way out.
    let other = Server::start(&place).await;
    let report = format!("/v1/leases/{}/report", lease["lease_id"].as_str().unwrap());
    assert_eq!(other.post(&report, json!({"outcome": "used"})).await.status, 200);
}

const FRESH: usize = 1000;
const CROWD: usize = 640;

async fn a_crowd_that_finds_keys_spreads_over_fresh_keys(place: Place) {
    fill(&place, &stability(), FRESH).await;
    let servers = servers(&place).await;
    let path = "/v1/pools/stability/find_usable_key";
    let started = std::time::Instant::now();
    let answers = all_at_once(&servers, CROWD, |number| servers[number % 3].post(path, Value::Null)).await;
    report_rate("find_usable_key", started.elapsed());
    all_answered(&answers, 200);
    spread_over_fresh_keys(&answers, "last_used");
}

async fn a_crowd_that_leases_keys_spreads_over_fresh_keys(place: Place) {
    fill(&place, &stability(), FRESH).await;
    let servers = servers(&place).await;
    let ask = json!({"ttl_seconds": 3600});
    let started = std::time::Instant::now();
    let answers = all_at_once(&servers, CROWD, |number| servers[number % 3].post(LEASES, ask.clone())).await;
    report_rate("lease", started.elapsed());
    all_answered(&answers, 201);
    spread_over_fresh_keys(&answers, "expires_at");
    let leases: HashSet<&str> = answers.iter().map(|answer| answer.text("lease_id")).collect();
    assert_eq!(leases.len(), CROWD);
}

fn all_answered(answers: &[Answer], status: u16) {
    let others: Vec<&Answer> = answers.iter().filter(|answer| answer.status != status).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Asserts that nobody got a key that was handed out less than a second before, by the store's clock. `stamp` is the
/// member of an answer that moves with that clock.
///
/// A hand-out that the store takes longer than a second for is not seen by others meanwhile: on a machine that
/// stalls, a few may get the same key after all.
fn spread_over_fresh_keys(answers: &[Answer], stamp: &str) {
    let mut hand_outs: BTreeMap<&str, Vec<OffsetDateTime>> = BTreeMap::new();
    for answer in answers {
        let stamp = OffsetDateTime::parse(answer.text(stamp), &Rfc3339).unwrap();
        hand_outs.entry(answer.text("id")).or_default().push(stamp);
    }
    for (key, stamps) in &mut hand_outs {
        stamps.sort();
        let soonest = stamps.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(soonest.is_none_or(|soonest| soonest >= COOL_DOWN), "{key} was handed out at {stamps:?}");
    }
    let twice = answers.len() - hand_outs.len();
    assert!(twice <= answers.len() / 20, "{twice} of {} callers got a key that another had", answers.len());
}

/// A number for people who look (`--nocapture`).
fn report_rate(what: &str, took: Duration) {
    println!("{what}: {CROWD} in {} ms, {:.0} a second", took.as_millis(), CROWD as f64 / took.as_secs_f64());
}
