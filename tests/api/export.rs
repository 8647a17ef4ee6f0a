use bson::doc;
use serde_json::{Value, json};
use warp::http::Method;

use crate::place::{Place, run};
use crate::server::{Answer, Server};

const NDJSON: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];

on_both_stores!(
    an_export_imported_elsewhere_is_the_same_pool,
    the_order_of_an_in_order_pool_is_kept,
    leases_of_a_refund_pool_are_dropped,
    lines_that_are_none_of_an_export_are_told_without_their_content,
);

/// Another store of the same kind.
fn another(place: &Place) -> Place {
    match place {
        Place::Folder(_) => Place::sqlite(),
        Place::Database(_) => Place::mongodb(),
    }
}

async fn export(server: &Server, pool: &str) -> String {
    let answer = server.get(&format!("/v1/pools/{pool}/export")).await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/x-ndjson".parse().unwrap()));
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.body.as_str().unwrap().to_owned()
}

async fn import(server: &Server, pool: &str, lines: &str) -> Answer {
    server.ask(Method::POST, &format!("/v1/pools/{pool}/keys"), NDJSON, lines).await
}

fn lines(export: &str) -> Vec<Value> {
    export.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn an_export_imported_elsewhere_is_the_same_pool(place: Place) {
    let other = another(&place);
    let keys = ["sk-fresh", "sk-leased", "sk-rested", "sk-rejected", "sk-off", "sk-\"\\odd"];
    let server = Server::with_keys(place, "stability", &keys).await;
    let path = "/v1/pools/stability";
    // One each: leased and left so, resting, rejected; in the order in which they were added.
    for outcome in [None, Some("rate_limited"), Some("rejected")] {
        let lease = server.post_empty(&format!("{path}/leases")).await;
        if let Some(outcome) = outcome {
            let report = format!("/v1/leases/{}/report", lease.text("lease_id"));
            assert_eq!(server.post(&report, json!({"outcome": outcome})).await.status, 200);
        }
    }
    let off = server.post(&format!("{path}/look_up"), json!({"api_key": "sk-off"})).await;
    let change = json!({"is_active": false, "usage_count": 3, "note": "of \"Ann\"\nfrom May"}).to_string();
    let json = [("content-type", "application/json")];
    let off = format!("{path}/keys/{}", off.text("id"));
    assert_eq!(server.ask(Method::PATCH, &off, &json, &change).await.status, 200);

    let exported = export(&server, "stability").await;
    let told = lines(&exported);
    assert_eq!(told.len(), 7);
    assert_eq!(told[6], json!({"pool": "stability", "exported": 6, "invalid": 0, "invalid_keys": []}));
    let leased = told.iter().find(|key| key["usage_count"] == 1 && key["is_active"] == true).expect("a lease is a use");
    assert!(leased["last_used"].is_string());
    assert!(told.iter().any(|key| key["resting_until"].is_string()));
    assert!(told.iter().any(|key| key["disabled_reason"] == "rejected"));
    assert!(told.iter().any(|key| key["disabled_reason"] == "operator" && key["note"] == "of \"Ann\"\nfrom May"));

    let elsewhere = Server::start(other).await;
    let added = import(&elsewhere, "stability", &exported).await;
    assert_eq!(added.body, json!({"added": 6, "known": 0, "invalid": 0, "lines": []}));
    assert_eq!(export(&elsewhere, "stability").await, exported);
    // The same again adds nothing and changes nothing.
    assert_eq!(import(&elsewhere, "stability", &exported).await.body["known"], 6);
    assert_eq!(export(&elsewhere, "stability").await, exported);
}

async fn the_order_of_an_in_order_pool_is_kept(place: Place) {
    let other = another(&place);
    let keys: Vec<String> = (0..20).map(|n| format!("pk-{n:02}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let server = Server::with_keys(place, "plantid", &keys).await;
    let exported = export(&server, "plantid").await;
    let secrets = |export: &str| -> Vec<String> {
        lines(export).iter().filter_map(|line| Some(line["api_key"].as_str()?.to_owned())).collect()
    };
    assert_eq!(secrets(&exported), keys);
    let elsewhere = Server::with_keys(other, "plantid", &["pk-before"]).await;
    assert_eq!(import(&elsewhere, "plantid", &exported).await.body["added"], 20);
    let mut expected = vec!["pk-before"];
    expected.extend(keys);
    assert_eq!(secrets(&export(&elsewhere, "plantid").await), expected);
}

async fn leases_of_a_refund_pool_are_dropped(place: Place) {
    let server = Server::with_keys(place, "refund", &["sk-1"]).await;
    assert_eq!(server.post_empty("/v1/pools/refund/leases").await.status, 201);
    assert_eq!(lines(&export(&server, "refund").await)[0]["usage_count"], 0);
}

async fn lines_that_are_none_of_an_export_are_told_without_their_content(place: Place) {
    let server = Server::start(place).await;
    let text = "{\"pool\":\"stability\",\"api_key\":\"sk-1\"}\nhush\n\n{\"pool\":\"plantid\",\"api_key\":\"hush\"}\n\
                {\"pool\":\"stability\",\"api_key\":\"sk-1\"}\n{\"pool\":\"stability\",\"exported\":9}";
    let answer = import(&server, "stability", text).await;
    assert_eq!(
        (&answer.body["added"], &answer.body["known"], &answer.body["invalid"]),
        (&json!(1), &json!(1), &json!(2))
    );
    let told: Vec<&Value> = answer.body["lines"].as_array().unwrap().iter().map(|line| &line["line"]).collect();
    assert_eq!(told, [2, 4, 5]);
    assert!(!answer.body.to_string().contains("hush"));
}

/// Where another program left the same secret twice, adding says that it is not race-proof; nothing else changes.
#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
#[test]
fn duplicates_in_the_collection_are_said_when_keys_are_added() {
    run(async {
        let place = Place::mongodb();
        let Place::Database(database) = &place else { unreachable!() };
        let client = ::mongodb::Client::with_uri_str(&database.uri).await.unwrap();
        let keys = client.database(&database.name).collection("stability_api_keys");
        let twin = || doc! {"api_key": "sk-twin", "usage_count": 0, "last_used": null, "is_active": true};
        keys.insert_many([twin(), twin()]).await.unwrap();
        let server = Server::start(place).await;
        let answer =
            server.post("/v1/pools/stability/keys", json!({"api_keys": ["sk-twin", "sk-new", "sk-new"]})).await;
        assert_eq!((&answer.body["added"], &answer.body["known"]), (&json!(1), &json!(2)));
        assert!(answer.text("warning").contains("keylend check"), "{answer:?}");
        let sound = server.post("/v1/pools/plantid/keys", json!({"api_keys": ["sk-new"]})).await;
        assert!(sound.body.get("warning").is_none());
    });
}
