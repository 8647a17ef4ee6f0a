use serde_json::{Value, json};
use warp::http::Method;

use crate::place::Place;
use crate::server::{Answer, Server};

on_both_stores!(
    a_lease_reserves_one_use_until_it_is_reported,
    every_outcome_has_its_effect,
    a_report_is_taken_once,
    a_renewal_never_shortens,
    a_lease_that_lapsed_is_gone_and_counts,
    the_same_idempotency_key_gets_the_same_lease,
    bad_requests_change_nothing,
);

async fn lease(server: &Server, pool: &str) -> Answer {
    server.post_empty(&format!("/v1/pools/{pool}/leases")).await
}

async fn report(server: &Server, lease_id: &str, body: Value) -> Answer {
    server.post(&format!("/v1/leases/{lease_id}/report"), body).await
}

async fn a_lease_reserves_one_use_until_it_is_reported(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one"]).await;
    let lent = lease(&server, "once").await;
    assert_eq!((lent.status, lent.text("api_key"), lent.text("pool")), (201, "sk-one", "once"));
    assert_eq!(lent.headers["location"], format!("/v1/leases/{}", lent.text("lease_id")));
    assert_eq!(lent.headers["cache-control"], "no-store");
    assert_eq!(lent.body["usage_count"], 0);
    assert!(lent.body["expires_at"].is_string() && lent.body.as_object().unwrap().len() == 6);

    let none = lease(&server, "once").await;
    none.is_problem(503, "no_usable_key");
    assert_eq!(none.headers["retry-after"], "5");
    assert_eq!(none.text("detail"), "pool once: 1 leased");

    let settled = report(&server, lent.text("lease_id"), json!({"outcome": "unused"})).await;
    assert_eq!((settled.status, &settled.body["usage_count"], settled.text("state")), (200, &json!(0), "usable"));
    assert_eq!(settled.text("id"), lent.text("id"));
    assert_eq!(lease(&server, "once").await.status, 201);
}

async fn every_outcome_has_its_effect(place: Place) {
    let server = Server::start(place).await;
    for (outcome, count, state) in [
        (json!({"outcome": "used"}), 1, "spent"),
        (json!({"outcome": "unused"}), 0, "usable"),
        (json!({"outcome": "rate_limited"}), 0, "resting"),
        (json!({"outcome": "rate_limited", "retry_after_seconds": 0}), 0, "usable"),
        (json!({"outcome": "exhausted"}), 0, "disabled"),
        (json!({"outcome": "rejected"}), 0, "disabled"),
    ] {
        let key = format!("sk-{:032x}", rand::random::<u128>());
        server.post("/v1/pools/once/keys", json!({"api_keys": [key]})).await;
        // What an earlier outcome left usable goes first or last, by its stamp: take the key that was just added.
        let lent = loop {
            let lent = lease(&server, "once").await;
            if lent.text("api_key") == key {
                break lent;
            }
        };
        let settled = report(&server, lent.text("lease_id"), outcome.clone()).await;
        assert_eq!(
            (settled.status, &settled.body["usage_count"], settled.text("state")),
            (200, &json!(count), state),
            "{outcome}"
        );
    }
}

async fn a_report_is_taken_once(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    let lent = lease(&server, "stability").await;
    let used = json!({"outcome": "used"});
    assert_eq!(report(&server, lent.text("lease_id"), used.clone()).await.body["usage_count"], 1);
    let again = report(&server, lent.text("lease_id"), used).await;
    again.is_problem(410, "lease_gone");
    assert!(again.text("detail").contains("do not retry"));
    server
        .post(&format!("/v1/leases/{}/renew", lent.text("lease_id")), json!({"ttl_seconds": 1}))
        .await
        .is_problem(410, "lease_gone");
    let seen = server.post("/v1/pools/stability/look_up", json!({"api_key": "sk-one"})).await;
    assert_eq!(seen.body["usage_count"], 1);
}

async fn a_renewal_never_shortens(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    let lent = server.post("/v1/pools/stability/leases", json!({"ttl_seconds": 600})).await;
    let renew = async |seconds: u64| {
        server.post(&format!("/v1/leases/{}/renew", lent.text("lease_id")), json!({"ttl_seconds": seconds})).await
    };
    let shorter = renew(1).await;
    assert_eq!((shorter.status, shorter.text("expires_at")), (200, lent.text("expires_at")));
    assert!(renew(3600).await.text("expires_at") > lent.text("expires_at"));
    for seconds in [0, 3601, u64::MAX] {
        renew(seconds).await.is_problem(400, "invalid_request");
    }
}

async fn a_lease_that_lapsed_is_gone_and_counts(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one"]).await;
    server.post("/v1/pools/refund/keys", json!({"api_keys": ["sk-two"]})).await;
    for (pool, key, count) in [("once", "sk-one", 1), ("refund", "sk-two", 0)] {
        let lent = server.post(&format!("/v1/pools/{pool}/leases"), json!({"ttl_seconds": 1})).await;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        // Whoever looks for a key settles what lapsed.
        let next = loop {
            let next = lease(&server, pool).await;
            let gone = if count == 1 { next.body["keys"]["spent"] == 1 } else { next.status == 201 };
            if gone || std::time::Instant::now() > deadline {
                break next;
            }
        };
        assert_eq!(next.status == 201, count == 0, "{next:?}");
        report(&server, lent.text("lease_id"), json!({"outcome": "used"})).await.is_problem(410, "lease_gone");
        let seen = server.post(&format!("/v1/pools/{pool}/look_up"), json!({"api_key": key})).await;
        assert_eq!(seen.body["usage_count"], count, "{pool}");
    }
}

async fn the_same_idempotency_key_gets_the_same_lease(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one", "sk-two"]).await;
    let ask = async |key: &str, body: &str| {
        server.ask(Method::POST, "/v1/pools/stability/leases", &[("idempotency-key", key)], body).await
    };
    let first = ask("order-1", r#"{"ttl_seconds": 600}"#).await;
    let again = ask("order-1", r#"{"ttl_seconds": 1}"#).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.body, again.body);
    assert_ne!(ask("order-2", "").await.text("lease_id"), first.text("lease_id"));
    report(&server, first.text("lease_id"), json!({"outcome": "used"})).await;
    let new = ask("order-1", "").await;
    assert_eq!(new.status, 201);
    assert_ne!(new.text("lease_id"), first.text("lease_id"));
    ask("", "").await.is_problem(400, "invalid_request");
    ask("order 1", "").await.is_problem(400, "invalid_request");
    ask(&"x".repeat(256), "").await.is_problem(400, "invalid_request");
}

async fn bad_requests_change_nothing(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    for body in [
        json!({"ttl_seconds": 0}),
        json!({"ttl_seconds": 3601}),
        json!({"ttl_seconds": -1}),
        json!({"ttl_seconds": 1.5}),
        json!({"ttl_seconds": "60"}),
        json!({"ttl": 60}),
        json!([]),
        json!(1e300),
    ] {
        server.post("/v1/pools/stability/leases", body).await.is_problem(400, "invalid_request");
    }
    server.post_empty("/v1/pools/nothing/leases").await.is_problem(404, "unknown_pool");

    let lent = lease(&server, "stability").await;
    for body in [
        json!({}),
        json!({"outcome": "Used"}),
        json!({"outcome": ""}),
        json!({"outcome": null}),
        json!({"outcome": "used", "retry_after_seconds": 1}),
        json!({"outcome": "rate_limited", "retry_after_seconds": -1}),
        json!({"outcome": "used", "other": 1}),
    ] {
        report(&server, lent.text("lease_id"), body).await.is_problem(400, "invalid_request");
    }
    let entry = lent.text("lease_id").rsplit('.').next().unwrap();
    let used = json!({"outcome": "used"});
    report(&server, "x", used.clone()).await.is_problem(400, "invalid_request");
    report(&server, &format!("nothing.0123456789abcdef01234567.{entry}"), used.clone())
        .await
        .is_problem(404, "unknown_pool");
    report(&server, &format!("stability.0123456789abcdef01234567.{entry}"), used.clone())
        .await
        .is_problem(410, "lease_gone");
    report(&server, &format!("once.{}.{entry}", lent.text("id")), used).await.is_problem(410, "lease_gone");

    let stats = server.get("/v1/pools/stability/stats").await;
    assert_eq!(stats.body["uses"], json!({"counted": 0, "leased": 1, "left": 3}));
}
