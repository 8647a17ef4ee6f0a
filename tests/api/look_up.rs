use serde_json::{Value, json};

use crate::place::Place;
use crate::server::Server;

on_both_stores!(shows_a_key_masked_and_changes_nothing);

async fn shows_a_key_masked_and_changes_nothing(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-0123456789abcdef"]).await;
    let path = "/v1/pools/stability/look_up";
    let seen = server.post(path, json!({"api_key": "sk-0123456789abcdef"})).await;
    assert_eq!(seen.status, 200);
    let id = seen.text("id");
    assert_eq!(
        seen.body,
        json!({"id": id, "masked": "sk-01...cdef", "usage_count": 0, "last_used": Value::Null, "is_active": true, "state": "usable"})
    );
    assert_eq!(server.post(path, json!({"id": id})).await.body, seen.body);
    server.post(path, json!({"api_key": "sk-other"})).await.is_problem(404, "unknown_key");
    server.post("/v1/pools/none/look_up", json!({"id": id})).await.is_problem(404, "unknown_pool");
}
