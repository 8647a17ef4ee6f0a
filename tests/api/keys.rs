use serde_json::{Value, json};
use warp::http::Method;

use crate::place::Place;
use crate::server::Server;

const TEXT: &[(&str, &str)] = &[("content-type", "text/plain; charset=utf-8")];

on_both_stores!(
    json_gets_a_verdict_for_each_key,
    text_is_read_as_people_write_it,
    what_is_too_large_or_of_another_type_is_refused,
    the_first_thousand_lines_that_were_not_added_are_told,
);

async fn json_gets_a_verdict_for_each_key(place: Place) {
    let server = Server::start(place).await;
    let path = "/v1/pools/stability/keys";
    let long = "x".repeat(3000);
    let added = server.post(path, json!({"api_keys": ["sk-one", "", "sk two", "sk-one", "schlüssel", long]})).await;
    assert_eq!(added.status, 200);
    let reason = "has a character that is not visible ASCII";
    assert_eq!(
        added.body,
        json!({"added": 2, "known": 1, "invalid": 3, "lines": [
            {"line": 2, "verdict": "invalid", "reason": "is empty"},
            {"line": 3, "verdict": "invalid", "reason": reason},
            {"line": 4, "verdict": "known", "reason": Value::Null},
            {"line": 5, "verdict": "invalid", "reason": reason},
        ]})
    );
    let again = server.post(path, json!({"api_keys": ["sk-one"]})).await;
    assert_eq!((&again.body["added"], &again.body["known"]), (&json!(0), &json!(1)));
    assert_eq!(server.post(path, json!({"api_keys": []})).await.body["added"], 0);
    for body in [json!({}), json!({"api_keys": "sk"}), json!({"api_keys": [1]}), json!({"keys": []}), json!(["sk"])] {
        server.post(path, body).await.is_problem(400, "invalid_request");
    }
    server.post("/v1/pools/nothing/keys", json!({"api_keys": []})).await.is_problem(404, "unknown_pool");
}

async fn text_is_read_as_people_write_it(place: Place) {
    let server = Server::start(place).await;
    let text = b"\xef\xbb\xbfsk-one\r\n  sk-two\t\n\n\r\nsk three\n\xff\xfe\nsk-one\nsk-four";
    let added = server.ask_bytes(Method::POST, "/v1/pools/plantid/keys", TEXT, text).await;
    assert_eq!(added.status, 200, "{added:?}");
    assert_eq!((&added.body["added"], &added.body["known"], &added.body["invalid"]), (&json!(3), &json!(1), &json!(2)));
    let lines: Vec<_> =
        added.body["lines"].as_array().unwrap().iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [5, 6, 7]);
    // In order: the first line's key first.
    let found = server.post_empty("/v1/pools/plantid/find_usable_key").await;
    assert_eq!(found.text("api_key"), "sk-one");

    // Too long is never cut to what fits, and spaces are no part of a key.
    let spaces = " ".repeat(6000);
    let (longest, longer) = ("y".repeat(4096), "z".repeat(4097));
    let text =
        format!("{longer}\n{spaces}{longest}{spaces}\nsk-five\n{spaces}\n{longest}{spaces}x\n{spaces}sk-one{spaces}");
    let added = server.ask(Method::POST, "/v1/pools/plantid/keys", TEXT, &text).await;
    assert_eq!(
        added.body,
        json!({"added": 2, "known": 1, "invalid": 2, "lines": [
            {"line": 1, "verdict": "invalid", "reason": "is longer than 4096 characters"},
            {"line": 5, "verdict": "invalid", "reason": "is longer than 4096 characters"},
            {"line": 6, "verdict": "known", "reason": Value::Null},
        ]})
    );
}

async fn what_is_too_large_or_of_another_type_is_refused(place: Place) {
    let server = Server::start(place).await;
    let path = "/v1/pools/stability/keys";
    server.post(path, json!({"api_keys": ["x".repeat(4096)]})).await.is_problem(413, "too_large");
    let many = "sk-0123456789\n".repeat(10_000);
    server.ask(Method::POST, path, TEXT, &many).await.is_problem(413, "too_large");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    server.ask(Method::POST, path, &form, "sk-one").await.is_problem(415, "unsupported_media_type");
    server
        .ask(Method::POST, "/v1/pools/stability/look_up", &form, "{}")
        .await
        .is_problem(415, "unsupported_media_type");
    let large = json!({"api_key": "x".repeat(5000)});
    server.post("/v1/pools/stability/look_up", large).await.is_problem(413, "too_large");
}

async fn the_first_thousand_lines_that_were_not_added_are_told(place: Place) {
    let server = Server::start(place).await;
    let known: String = (0..900).map(|n| format!("sk-{n}\n")).collect();
    let text = format!("{known}{}", "a b\n".repeat(500));
    for (added, told) in [(900, (901, 1400)), (0, (1, 1000))] {
        let answer = server.ask(Method::POST, "/v1/pools/stability/keys", TEXT, &text).await;
        assert_eq!((&answer.body["added"], &answer.body["invalid"]), (&json!(added), &json!(500)));
        let lines = answer.body["lines"].as_array().unwrap();
        let number = |line: &Value| line["line"].as_u64().unwrap();
        assert_eq!((number(&lines[0]), number(lines.last().unwrap())), told);
        assert!(lines.is_sorted_by_key(number));
    }
}
