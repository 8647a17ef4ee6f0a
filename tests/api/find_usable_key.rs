use serde_json::json;

use crate::place::Place;
use crate::server::Server;

on_both_stores!(
    answers_with_the_key_and_its_stamp_and_counts_nothing,
    takes_max_uses_as_the_old_class_did,
    says_why_there_is_no_key,
);

async fn answers_with_the_key_and_its_stamp_and_counts_nothing(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one", "sk-two"]).await;
    let first = server.post_empty("/v1/pools/stability/find_usable_key").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.headers["cache-control"], "no-store");
    assert_eq!(
        (first.text("pool"), first.text("api_key"), &first.body["usage_count"]),
        ("stability", "sk-one", &json!(0))
    );
    assert_eq!(first.body.as_object().unwrap().len(), 5);
    let second = server.post_empty("/v1/pools/stability/find_usable_key").await;
    assert_eq!(second.text("api_key"), "sk-two");
    let seen = server.post("/v1/pools/stability/look_up", json!({"id": first.text("id")})).await;
    assert_eq!((&seen.body["usage_count"], seen.text("last_used")), (&json!(0), first.text("last_used")));
}

async fn takes_max_uses_as_the_old_class_did(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    let ask = async |query: &str| server.post_empty(&format!("/v1/pools/stability/find_usable_key{query}")).await;
    assert_eq!(ask("?max_uses=0").await.status, 200);
    for _ in 0..4 {
        server.post("/v1/pools/stability/increment_usage", json!({"api_key": "sk-one"})).await;
    }
    ask("").await.is_problem(503, "no_usable_key");
    ask("?max_uses=3").await.is_problem(503, "no_usable_key");
    assert_eq!(ask("?max_uses=4").await.status, 200);
    assert_eq!(ask("?max_uses=10000").await.status, 200);
    for query in ["?max_uses=-1", "?max_uses=10001", "?max_uses=x", "?max_uses=", "?other=1", "?max_uses=99999999999"] {
        ask(query).await.is_problem(400, "invalid_request");
    }
}

async fn says_why_there_is_no_key(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one", "sk-two", "sk-three"]).await;
    for outcome in [json!({"outcome": "used"}), json!({"outcome": "rate_limited", "retry_after_seconds": 90})] {
        let lease = server.post_empty("/v1/pools/once/leases").await;
        server.post(&format!("/v1/leases/{}/report", lease.text("lease_id")), outcome).await;
    }
    server.post_empty("/v1/pools/once/leases").await;
    let none = server.post_empty("/v1/pools/once/find_usable_key").await;
    none.is_problem(503, "no_usable_key");
    let due = none.text("next_due_at");
    assert_eq!(none.text("detail"), format!("pool once: 1 spent, 1 resting until {due}, 1 leased"));
    assert_eq!(none.text("pool"), "once");
    assert_eq!(
        none.body["keys"],
        json!({"total": 3, "usable": 0, "leased": 1, "resting": 1, "spent": 1, "disabled": 0, "invalid": 0})
    );
    let retry_after: u64 = none.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=90).contains(&retry_after), "{retry_after}");

    let empty = server.post_empty("/v1/pools/plantid/find_usable_key").await;
    empty.is_problem(503, "no_usable_key");
    assert!(empty.text("detail").contains("keylend keys add") && !empty.headers.contains_key("retry-after"));
}
