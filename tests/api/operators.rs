//! What operators do with keys and leases.

use serde_json::{Value, json};
use warp::http::Method;

use crate::place::Place;
use crate::server::{Answer, Server};

on_both_stores!(
    keys_are_listed_part_by_part,
    a_key_is_shown_with_its_leases,
    a_key_is_changed_as_it_is_named,
    a_new_secret_starts_afresh,
    a_removed_key_is_gone_with_its_leases,
    counts_start_anew,
    a_lease_is_shown_and_ended,
    an_export_gives_the_same_pool_back,
);

const KEYS: &str = "/v1/pools/stability/keys";

impl Server {
    async fn patch(&self, id: &str, body: Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.ask(Method::PATCH, &format!("{KEYS}/{id}"), &json, &body.to_string()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, &[], "").await
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let listed = self.get(&format!("{KEYS}?{query}")).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        let keys = listed.body["keys"].as_array().unwrap();
        keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
    }
}

async fn keys_are_listed_part_by_part(place: Place) {
    let secrets: Vec<String> = (0..5).map(|key| format!("sk-{key}-0123456789abcdef")).collect();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let server = Server::with_keys(place, "stability", &secrets).await;
    let all = server.ids("").await;
    assert_eq!(all.len(), 5);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let part = server.get(&format!("{KEYS}?limit=2{cursor}")).await;
        let keys = part.body["keys"].as_array().unwrap();
        assert!(keys.len() <= 2);
        seen.extend(keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        match part.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    server.patch(&all[3], json!({"is_active": false})).await;
    assert_eq!(server.ids("state=disabled").await, [all[3].clone()]);
    assert_eq!(server.ids("state=usable&limit=1000").await.len(), 4);
    assert_eq!(server.get("/v1/pools/once/keys").await.body, json!({"keys": [], "next_cursor": null}));
    assert!(!server.get(KEYS).await.body.to_string().contains("0123456789"), "a secret is listed");
}

async fn a_key_is_shown_with_its_leases(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-0123456789abcdef"]).await;
    let lent = server.post_empty("/v1/pools/stability/leases").await;
    let shown = server.get(&format!("{KEYS}/{}", lent.text("id"))).await;
    assert_eq!(shown.status, 200);
    let (last_used, added_at) = (shown.body["last_used"].clone(), shown.body["added_at"].clone());
    assert!(last_used.is_string() && added_at.is_string());
    assert_eq!(
        shown.body,
        json!({
            "id": lent.text("id"), "masked": "sk-01...cdef", "usage_count": 0, "left": 3, "last_used": last_used,
            "is_active": true, "state": "usable", "disabled_reason": null, "resting_until": null, "note": null,
            "added_at": added_at, "verified": null, "leases": [{"by": "", "expires_at": lent.text("expires_at")}],
        })
    );
}

async fn a_key_is_changed_as_it_is_named(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one", "sk-two"]).await;
    let ids = server.ids("").await;
    let id = ids[0].as_str();
    let off = server.patch(id, json!({"is_active": false, "note": "billing"})).await;
    assert_eq!((off.status, off.text("state"), off.text("disabled_reason")), (200, "disabled", "operator"));
    assert_eq!(off.text("note"), "billing");
    let on = server.patch(id, json!({"is_active": true, "usage_count": 4})).await;
    assert_eq!((on.text("state"), &on.body["disabled_reason"], on.text("note")), ("spent", &Value::Null, "billing"));
    let anew = server.patch(id, json!({"usage_count": 0, "note": null})).await;
    assert_eq!((anew.text("state"), &anew.body["note"]), ("usable", &Value::Null));

    // The first one rests, and is told not to.
    let lent = server.post_empty("/v1/pools/stability/leases").await;
    let limited = json!({"outcome": "rate_limited", "retry_after_seconds": 600});
    server.post(&format!("/v1/leases/{}/report", lent.text("lease_id")), limited).await;
    assert_eq!(server.ids("state=resting").await, [lent.text("id")]);
    let rested = server.patch(lent.text("id"), json!({"resting_until": null})).await;
    assert_eq!((rested.text("state"), &rested.body["resting_until"]), ("usable", &Value::Null));
    assert_eq!(rested.body, server.get(&format!("{KEYS}/{}", lent.text("id"))).await.body);
}

async fn a_new_secret_starts_afresh(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one", "sk-two"]).await;
    let lent = server.post_empty("/v1/pools/stability/leases").await;
    let id = lent.text("id");
    server.patch(id, json!({"usage_count": 3})).await;
    let taken = if lent.text("api_key") == "sk-one" { "sk-two" } else { "sk-one" };
    let known = server.patch(id, json!({"api_key": taken})).await;
    known.is_problem(409, "known_key");
    assert!(!known.text("detail").contains(taken));
    let changed = server.patch(id, json!({"api_key": "sk-three"})).await;
    assert_eq!((changed.status, &changed.body["usage_count"], &changed.body["leases"]), (200, &json!(0), &json!([])));
    let report = format!("/v1/leases/{}/report", lent.text("lease_id"));
    server.post(&report, json!({"outcome": "used"})).await.is_problem(410, "lease_gone");
    let seen = server.post("/v1/pools/stability/look_up", json!({"api_key": "sk-three"})).await;
    assert_eq!((seen.text("id"), &seen.body["usage_count"]), (id, &json!(0)));
}

async fn a_removed_key_is_gone_with_its_leases(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    let lent = server.post_empty("/v1/pools/stability/leases").await;
    let path = format!("{KEYS}/{}", lent.text("id"));
    let removed = server.delete(&path).await;
    assert_eq!((removed.status, &removed.body), (204, &Value::Null));
    assert_eq!(removed.headers["cache-control"], "no-store");
    server.get(&path).await.is_problem(404, "unknown_key");
    server.delete(&path).await.is_problem(404, "unknown_key");
    let lease = format!("/v1/leases/{}", lent.text("lease_id"));
    server.get(&lease).await.is_problem(410, "lease_gone");
    server.post(&format!("{lease}/report"), json!({"outcome": "used"})).await.is_problem(410, "lease_gone");
}

async fn counts_start_anew(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one", "sk-two", "sk-three"]).await;
    let ids = server.ids("").await;
    let spend = async || {
        for id in &ids {
            server.patch(id, json!({"usage_count": 4})).await;
        }
    };
    spend().await;
    let path = "/v1/pools/stability/reset";
    let missing = "0123456789abcdef01234567";
    let some = server.post(path, json!({"ids": [ids[0], missing, ids[1], ids[0]]})).await;
    assert_eq!((some.status, &some.body), (200, &json!({"reset": 2, "unknown": [missing]})));
    assert_eq!(server.ids("state=spent").await, [ids[2].clone()]);
    spend().await;
    assert_eq!(server.post(path, json!({"all": true})).await.body, json!({"reset": 3, "unknown": []}));
    assert_eq!(server.ids("state=usable").await, ids);
}

async fn a_lease_is_shown_and_ended(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one"]).await;
    let lent = server.post_empty("/v1/pools/once/leases").await;
    let lease = format!("/v1/leases/{}", lent.text("lease_id"));
    assert_eq!(lent.headers["location"], lease);
    let shown = server.get(&lease).await;
    let held = json!({"pool": "once", "id": lent.text("id"), "by": "", "expires_at": lent.text("expires_at")});
    assert_eq!((shown.status, &shown.body), (200, &held));
    let ended = server.delete(&lease).await;
    assert_eq!((ended.status, &ended.body), (200, &held));
    server.get(&lease).await.is_problem(410, "lease_gone");
    server.delete(&lease).await.is_problem(410, "lease_gone");
    let seen = server.post("/v1/pools/once/look_up", json!({"id": lent.text("id")})).await;
    assert_eq!((seen.text("state"), &seen.body["usage_count"]), ("usable", &json!(0)));
}

async fn an_export_gives_the_same_pool_back(place: Place) {
    let server = Server::with_keys(place, "plantid", &["sk-one", "sk-two", "sk-three"]).await;
    let path = "/v1/pools/plantid/keys";
    let before = server.get(path).await.body;
    let ids: Vec<&str> = before["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    let exported = server.get("/v1/pools/plantid/export").await;
    assert_eq!((exported.status, exported.headers["content-type"].to_str().unwrap()), (200, "application/x-ndjson"));
    assert_eq!(exported.headers["cache-control"], "no-store");
    let lines = exported.body.as_str().unwrap();
    assert!(lines.contains("sk-two") && lines.lines().count() == 4, "{lines}");

    let ndjson = [("content-type", "application/x-ndjson")];
    let again = server.ask(Method::POST, path, &ndjson, lines).await;
    assert_eq!((again.status, &again.body["added"], &again.body["known"]), (200, &json!(0), &json!(3)));
    for id in &ids {
        assert_eq!(server.delete(&format!("{path}/{id}")).await.status, 204);
    }
    let back = server.ask(Method::POST, path, &ndjson, lines).await;
    assert_eq!((back.status, &back.body["added"], &back.body["invalid"]), (200, &json!(3), &json!(0)));
    assert_eq!(server.get(path).await.body, before);
}
