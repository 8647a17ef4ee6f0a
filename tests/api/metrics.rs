//! `/metrics`: what was done and what is there, by pool, and nothing of a key.

use std::collections::BTreeMap;

use serde_json::json;
use warp::http::Method;

use crate::place::Place;
use crate::server::Server;

on_both_stores!(
    what_was_done_is_counted_by_pool,
    what_the_store_holds_is_what_the_stats_say,
    a_token_of_some_pools_sees_these_alone,
    nothing_of_a_key_and_nothing_that_was_sent_is_shown,
);

/// The samples by name and labels.
async fn samples(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let lines = answer.body.as_str().unwrap().lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

async fn what_was_done_is_counted_by_pool(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one", "sk-two", "sk-three"]).await;
    let report = async |outcome: &str| {
        let lease = server.post_empty("/v1/pools/once/leases").await;
        let path = format!("/v1/leases/{}/report", lease.text("lease_id"));
        assert_eq!(server.post(&path, json!({"outcome": outcome})).await.status, 200);
        server.post(&path, json!({"outcome": "used"})).await.is_problem(410, "lease_gone");
        lease.text("id").to_owned()
    };
    let before = samples(&server).await;
    assert_eq!(before[r#"keylend_reports_total{pool="once",outcome="used"}"#], 0.0, "the first step is seen as one");
    report("used").await;
    report("rate_limited").await;
    let rejected = report("rejected").await;
    for _ in 0..2 {
        server.post_empty("/v1/pools/once/leases").await.is_problem(503, "no_usable_key");
    }
    server.post("/v1/pools/once/increment_usage", json!({"id": rejected})).await;
    let path = format!("/v1/pools/once/keys/{rejected}");
    let patch =
        async |body: &str| server.ask(Method::PATCH, &path, &[("content-type", "application/json")], body).await;
    assert_eq!(patch(r#"{"is_active": true}"#).await.status, 200);
    assert_eq!(patch(r#"{"is_active": false}"#).await.status, 200);
    let repeated = [("idempotency-key", "again")];
    server.post("/v1/pools/refund/keys", json!({"api_keys": ["sk-four"]})).await;
    for status in [201, 200] {
        let lease = server.ask(Method::POST, "/v1/pools/refund/leases", &repeated, "").await;
        assert_eq!(lease.status, status);
    }
    server.post("/v1/pools/plantid/keys", json!({"api_keys": ["sk-plant"]})).await;
    server.get("/api/plantid").await;
    server.get("/nowhere").await;

    let after = samples(&server).await;
    for (sample, expected) in [
        (r#"keylend_hand_outs_total{pool="once",kind="lease"}"#, 3.0),
        (r#"keylend_hand_outs_total{pool="refund",kind="lease"}"#, 1.0),
        (r#"keylend_hand_outs_total{pool="refund",kind="repeat"}"#, 1.0),
        (r#"keylend_hand_outs_total{pool="plantid",kind="take"}"#, 1.0),
        (r#"keylend_hand_out_seconds_count{pool="once",kind="lease"}"#, 3.0),
        (r#"keylend_reports_total{pool="once",outcome="used"}"#, 1.0),
        (r#"keylend_reports_total{pool="once",outcome="rate_limited"}"#, 1.0),
        (r#"keylend_reports_total{pool="once",outcome="rejected"}"#, 1.0),
        (r#"keylend_reports_total{pool="once",outcome="gone"}"#, 3.0),
        (r#"keylend_lease_age_seconds_count{pool="once"}"#, 3.0),
        (r#"keylend_empty_answers_total{pool="once",reason="resting"}"#, 2.0),
        (r#"keylend_key_transitions_total{pool="once",reason="rate_limited"}"#, 1.0),
        (r#"keylend_key_transitions_total{pool="once",reason="rejected"}"#, 1.0),
        (r#"keylend_key_transitions_total{pool="once",reason="enabled"}"#, 1.0),
        (r#"keylend_key_transitions_total{pool="once",reason="disabled"}"#, 1.0),
        // The key that was used, and the one that was counted on.
        (r#"keylend_key_transitions_total{pool="once",reason="spent"}"#, 2.0),
        (r#"keylend_increments_total{pool="once"}"#, 1.0),
        (r#"keylend_batch_callers_count{pool="once",kind="lease"}"#, 5.0),
        (r#"keylend_store_answer_seconds_count{operation="take"}"#, 1.0),
        (r#"keylend_http_requests_total{method="POST",route="/v1/pools/{pool}/leases",status="201"}"#, 4.0),
        (r#"keylend_http_requests_total{method="POST",route="/v1/pools/{pool}/leases",status="503"}"#, 2.0),
        (r#"keylend_http_requests_total{method="",route="none",status="404"}"#, 1.0),
    ] {
        assert_eq!(after.get(sample), Some(&expected), "{sample}");
    }
    if cfg!(target_os = "linux") {
        assert!(after["process_resident_memory_bytes"] > 1e6 && after["process_open_fds"] > 2.0);
    }
}

async fn what_the_store_holds_is_what_the_stats_say(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one", "sk-two", "sk-three"]).await;
    let lease = server.post_empty("/v1/pools/once/leases").await;
    server.post("/v1/pools/once/increment_usage", json!({"api_key": "sk-three"})).await;
    assert_eq!(lease.status, 201);
    let stats = server.until_stats(|stats| stats["pools"][3]["keys"]["leased"] == 1).await;
    let stats = &stats["pools"][3];
    let samples = samples(&server).await;
    for state in ["usable", "leased", "resting", "spent", "disabled", "invalid"] {
        let sample = format!(r#"keylend_keys{{pool="once",state="{state}"}}"#);
        assert_eq!(Some(samples[&sample]), stats["keys"][state].as_f64(), "{state}");
    }
    for (sample, member) in [("uses_left", "left"), ("uses_counted", "counted"), ("open_leases", "leased")] {
        assert_eq!(Some(samples[&format!(r#"keylend_{sample}{{pool="once"}}"#)]), stats["uses"][member].as_f64());
    }
}

async fn a_token_of_some_pools_sees_these_alone(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one"]).await;
    server.post_empty("/v1/pools/once/leases").await;
    server.need_tokens(&["some:stats@stability", "all:stats"]);
    let text = async |token: &str| {
        let token = format!("Bearer {token}");
        let answer = server.ask(Method::GET, "/metrics", &[("authorization", &token)], "").await;
        answer.body.as_str().unwrap().to_owned()
    };
    // Also after somebody else has seen them.
    let (all, some) = (text("all").await, text("some").await);
    assert!(all.contains(r#"pool="once""#) && all.contains(r#"pool="stability""#));
    assert!(!some.contains("once") && some.contains(r#"pool="stability""#), "{some}");
}

async fn nothing_of_a_key_and_nothing_that_was_sent_is_shown(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-secret-secret-secret"]).await;
    let lease = server.post_empty("/v1/pools/stability/leases").await;
    server.post("/v1/pools/stability/look_up", json!({"api_key": "sk-secret-secret-secret"})).await;
    server.get("/v1/pools/zzz/stats").await;
    server.get("/zzz?zzz=zzz").await;
    server.ask(Method::from_bytes(b"ZZZ").unwrap(), "/v1/pools", &[], "").await;
    let text = server.get("/metrics").await.body.as_str().unwrap().to_owned();
    for part in ["secret", "zzz", "ZZZ", lease.text("lease_id"), lease.text("id")] {
        assert!(!text.contains(part), "{part}");
    }
}
