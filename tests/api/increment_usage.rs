use serde_json::json;

use crate::place::Place;
use crate::server::Server;

on_both_stores!(counts_by_secret_and_by_id_whatever_the_state, refuses_what_names_no_key);

async fn counts_by_secret_and_by_id_whatever_the_state(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one"]).await;
    let path = "/v1/pools/once/increment_usage";
    let first = server.post(path, json!({"api_key": "sk-one"})).await;
    assert_eq!((first.status, &first.body["usage_count"]), (200, &json!(1)));
    let second = server.post(path, json!({"id": first.text("id")})).await;
    assert_eq!((second.status, &second.body["usage_count"]), (200, &json!(2)));
    assert!(second.text("last_used") >= first.text("last_used"));
    assert_eq!(second.body.as_object().unwrap().len(), 3);
}

async fn refuses_what_names_no_key(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    let path = "/v1/pools/stability/increment_usage";
    server.post(path, json!({"api_key": "sk-two"})).await.is_problem(404, "unknown_key");
    server.post(path, json!({"id": "0123456789abcdef01234567"})).await.is_problem(404, "unknown_key");
    for body in [
        json!({}),
        json!([]),
        json!(null),
        json!({"id": "x"}),
        json!({"api_key": ""}),
        json!({"api_key": "a b"}),
        json!({"api_key": 5}),
        json!({"api_key": {"$gt": ""}}),
        json!({"api_key": "sk-one", "id": "0123456789abcdef01234567"}),
        json!({"api_key": "sk-one", "other": 1}),
    ] {
        server.post(path, body).await.is_problem(400, "invalid_request");
    }
    let seen = server.post("/v1/pools/stability/look_up", json!({"api_key": "sk-one"})).await;
    assert_eq!(seen.body["usage_count"], 0);
}
