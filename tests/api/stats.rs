use serde_json::json;

use crate::place::Place;
use crate::server::Server;

on_both_stores!(stats_tell_keys_by_state_and_uses, policies_are_listed);

async fn stats_tell_keys_by_state_and_uses(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one", "sk-two", "sk-three", "sk-four"]).await;
    let first = server.post_empty("/v1/pools/stability/leases").await;
    let second = server.post_empty("/v1/pools/stability/leases").await;
    server.post_empty("/v1/pools/stability/leases").await;
    server.post(&format!("/v1/leases/{}/report", first.text("lease_id")), json!({"outcome": "rejected"})).await;
    server.post(&format!("/v1/leases/{}/report", second.text("lease_id")), json!({"outcome": "used"})).await;
    for _ in 0..5 {
        server.post("/v1/pools/stability/increment_usage", json!({"api_key": "sk-four"})).await;
    }
    let stats = server.get("/v1/stats").await;
    assert_eq!(stats.status, 200);
    assert!(stats.body["generated_at"].is_string());
    let names: Vec<_> =
        stats.body["pools"].as_array().unwrap().iter().map(|pool| pool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["stability", "plantid", "healthid", "once", "refund"]);
    let pool = &stats.body["pools"][0];
    assert!(pool["last_used"].is_string());
    assert_eq!(
        pool,
        &json!({
            "name": "stability", "picks": "least_recently_used", "uses_per_key": 4,
            "keys": {"total": 4, "usable": 2, "leased": 0, "resting": 0, "spent": 1, "disabled": 1, "invalid": 0},
            "uses": {"counted": 6, "leased": 1, "left": 6},
            "usage_counts": [{"usage_count": 0, "keys": 2}, {"usage_count": 1, "keys": 1}, {"usage_count": "more", "keys": 1}],
            "last_used": pool["last_used"], "next_due_at": null, "needs_migration": 0, "rejected": 1, "key_requests": 0,
        })
    );
    let one = server.get("/v1/pools/stability/stats").await;
    assert_eq!((one.status, &one.body["keys"]), (200, &pool["keys"]));
    server.get("/v1/pools/nothing/stats").await.is_problem(404, "unknown_pool");
}

async fn policies_are_listed(place: Place) {
    let server = Server::start(place).await;
    let pools = server.get("/v1/pools").await;
    assert_eq!(
        pools.body["pools"][0],
        json!({
            "name": "stability", "picks": "least_recently_used", "uses_per_key": 4, "lapsed": "count",
            "lease_ttl_seconds": 300, "rest_seconds": 60, "rest_cap_seconds": 3600,
        })
    );
    assert_eq!(pools.body["pools"][4]["lapsed"], "refund");
    assert_eq!(pools.body["pools"][1]["picks"], "in_order");
}
