//! The older Flask server's routes, as its clients and its bot use them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use warp::http::Method;

use crate::place::Place;
use crate::server::{Answer, Server};

on_both_stores!(
    keys_go_out_one_after_the_other_until_the_file_is_empty,
    the_statistics_have_the_older_shape_and_all_pools,
    a_crowd_gets_each_use_once,
    to_ask_what_an_answer_looks_like_takes_nothing,
    the_older_routes_can_be_open_where_all_others_need_tokens,
    leases_and_rests_are_respected,
);

#[track_caller]
fn key(answer: &Answer) -> &str {
    assert_eq!((answer.status, answer.body.as_object().unwrap().len()), (200, 1), "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.text("Key")
}

async fn keys_go_out_one_after_the_other_until_the_file_is_empty(place: Place) {
    let server = Server::start(place).await;
    for (path, pool) in [("/api/plantid", "plantid"), ("/api/healthid", "healthid")] {
        assert_eq!(key(&server.get(path).await), "File is empty");
        let keys = [format!("{pool}-1"), format!("{pool}-2")];
        server.post(&format!("/v1/pools/{pool}/keys"), json!({"api_keys": keys})).await;
        for expected in &keys {
            for _ in 0..100 {
                assert_eq!(key(&server.get(path).await), expected);
            }
        }
        assert_eq!(key(&server.get(path).await), "File is empty");
    }
}

async fn the_statistics_have_the_older_shape_and_all_pools(place: Place) {
    let server = Server::start(place).await;
    let empty = json!({"keys_available": 0, "status": "File is empty"});
    let stats = server.get("/api/stats").await;
    assert_eq!(stats.body["keys"], json!({"plantid": empty, "healthid": empty}));
    let untouched = json!({"requests_until_rotation": 100});
    assert_eq!(stats.body["requests"], json!({"plantid": untouched, "healthid": untouched}));

    server.post("/v1/pools/plantid/keys", json!({"api_keys": ["pk-1", "pk-2"]})).await;
    for left in [99, 98, 97] {
        key(&server.get("/api/plantid").await);
        let expected = json!({"keys_available": 2, "status": "Keys available"});
        let is_next = |stats: &Value| stats["requests"]["plantid"]["requests_until_rotation"] == left;
        server.until_stats(|stats| is_next(stats) && stats["keys"]["plantid"] == expected).await;
    }
    // The count of a lease is reserved, so the next key has one less to give.
    assert_eq!(server.post_empty("/v1/pools/plantid/leases").await.status, 201);
    let expected = json!({"counted": 3, "leased": 1, "left": 196});
    let is_next = |stats: &Value| stats["requests"]["plantid"]["requests_until_rotation"] == 96;
    let stats = server.until_stats(|stats| is_next(stats) && stats["pools"][1]["uses"] == expected).await;
    assert_eq!(stats["requests"]["healthid"], untouched);
    let members: BTreeSet<&str> = stats.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["keys", "pools", "requests"]));
    let names: Vec<&Value> = stats["pools"].as_array().unwrap().iter().map(|pool| &pool["name"]).collect();
    assert_eq!(names, ["stability", "plantid", "healthid", "once", "refund"]);
}

async fn a_crowd_gets_each_use_once(place: Place) {
    let server = std::sync::Arc::new(Server::with_keys(place, "plantid", &["pk-1", "pk-2", "pk-3"]).await);
    let mut crowd = JoinSet::new();
    for _ in 0..32 {
        let server = std::sync::Arc::clone(&server);
        crowd.spawn(async move {
            let mut got = Vec::new();
            loop {
                match key(&server.get("/api/plantid").await) {
                    "File is empty" => return got,
                    taken => got.push(taken.to_owned()),
                }
            }
        });
    }
    let mut uses = std::collections::BTreeMap::<String, u32>::new();
    while let Some(got) = crowd.join_next().await {
        got.unwrap().into_iter().for_each(|taken| *uses.entry(taken).or_default() += 1);
    }
    assert_eq!(uses, ["pk-1", "pk-2", "pk-3"].map(|taken| (taken.to_owned(), 100)).into());
}

async fn to_ask_what_an_answer_looks_like_takes_nothing(place: Place) {
    let server = Server::with_keys(place, "plantid", &["pk-1"]).await;
    let before = server.everything().await;
    for path in ["/api/plantid", "/api/healthid", "/api/stats"] {
        let answer = server.ask(Method::HEAD, path, &[], "").await;
        assert_eq!((answer.status, &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    }
    assert_eq!(server.everything().await, before);
}

async fn the_older_routes_can_be_open_where_all_others_need_tokens(place: Place) {
    let mut server = Server::with_keys(place, "plantid", &["pk-1"]).await;
    server.need_tokens(&["s:service", "own:service+stats@plantid"]);
    for path in ["/api/plantid", "/api/healthid", "/api/stats"] {
        server.get(path).await.is_problem(401, "unauthenticated");
    }
    let bearer = |token| [("authorization", token)];
    let own = bearer("Bearer own");
    assert_eq!(key(&server.ask(Method::GET, "/api/plantid", &own, "").await), "pk-1");
    server.ask(Method::GET, "/api/healthid", &own, "").await.is_problem(403, "forbidden");
    server.ask(Method::GET, "/api/stats", &bearer("Bearer s"), "").await.is_problem(403, "forbidden");

    server.frame.open_flask = true;
    assert_eq!(key(&server.get("/api/plantid").await), "pk-1");
    assert_eq!(key(&server.get("/api/healthid").await), "File is empty");
    assert_eq!(server.get("/api/stats").await.body["keys"]["plantid"]["keys_available"], 1);
    server.get("/v1/stats").await.is_problem(401, "unauthenticated");
    server.post_empty("/v1/pools/plantid/leases").await.is_problem(401, "unauthenticated");
}

async fn leases_and_rests_are_respected(place: Place) {
    let server = Server::with_keys(place, "plantid", &["pk-1", "pk-2"]).await;
    let lent = server.post_empty("/v1/pools/plantid/leases").await;
    let report = format!("/v1/leases/{}/report", lent.text("lease_id"));
    let rests = json!({"outcome": "rate_limited", "retry_after_seconds": 3600});
    assert_eq!(server.post(&report, rests).await.status, 200);
    assert_eq!(key(&server.get("/api/plantid").await), "pk-2");
}
