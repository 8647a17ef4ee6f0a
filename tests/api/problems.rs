//! What cannot be done is a problem with its code, and changes nothing.

use keylend::http::routes::{ROUTES, Takes};
use warp::http::Method;

use crate::cases::{cases, filled};
use crate::place::Place;
use crate::server::Server;

on_both_stores!(every_route_answers_nonsense_with_a_problem, what_is_not_there_is_not_found);

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

/// No route takes these as its JSON body.
const NONSENSE: [&str; 9] = ["{", "nonsense", "\u{0}", "[[[[", "{\"a\": 1}", "null", "0", "\"\"", "{}{}"];

async fn every_route_answers_nonsense_with_a_problem(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    let lent = server.post_empty("/v1/pools/stability/leases").await;
    let (id, lease_id) = (lent.text("id"), lent.text("lease_id"));
    let entry = lease_id.rsplit('.').next().unwrap();
    let before = server.everything().await;
    for (route, case) in cases() {
        let what = format!("{} {}", case.method, case.path);
        let ask = async |path: &str, headers, body: &str| server.ask(route.method.clone(), path, headers, body).await;
        let path = filled(case.path, "stability", id, lease_id);
        let at = |pool: &str, id: &str, lease_id: &str| filled(case.path, pool, id, lease_id);

        let there: Vec<&Method> =
            ROUTES.iter().filter(|other| other.path == route.path).map(|other| &other.method).collect();
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            if !there.contains(&&method) {
                let refused = server.ask(method, &path, JSON, case.body).await;
                refused.is_problem(405, "method_not_allowed");
                let allow = refused.headers["allow"].to_str().unwrap();
                assert!(there.iter().all(|method| allow.contains(method.as_str())), "{what}: {allow}");
                assert_eq!(allow.contains("HEAD"), there.contains(&&Method::GET), "{what}: {allow}");
            }
        }
        ask(&format!("{path}/"), JSON, case.body).await.is_problem(404, "not_found");

        if case.path.contains("{pool}") {
            for pool in ["nothing", "STABILITY", "%73tability", &"x".repeat(300)] {
                ask(&at(pool, id, lease_id), JSON, case.body).await.is_problem(404, "unknown_pool");
            }
        }
        if case.path.contains("{id}") {
            ask(&at("stability", "0123456789abcdef01234567", ""), JSON, case.body).await.is_problem(404, "unknown_key");
            ask(&at("once", id, ""), JSON, case.body).await.is_problem(404, "unknown_key");
            for id in ["x", &id.to_uppercase(), &id[1..], &format!("{id}0"), "%00", &"0".repeat(300)] {
                ask(&at("stability", id, ""), JSON, case.body).await.is_problem(400, "invalid_request");
            }
        }
        if case.path.contains("{lease_id}") {
            let other_entry = format!("stability.{id}.{}", "0".repeat(32));
            let other_key = format!("stability.0123456789abcdef01234567.{entry}");
            for gone in [other_entry, other_key, format!("once.{id}.{entry}")] {
                ask(&at("", "", &gone), JSON, case.body).await.is_problem(410, "lease_gone");
            }
            ask(&at("", "", &format!("nothing.{id}.{entry}")), JSON, case.body).await.is_problem(404, "unknown_pool");
            for other in ["x", &lease_id.to_uppercase(), &format!("{lease_id}.x"), &format!("{lease_id}0"), "..", "%00"]
            {
                ask(&at("", "", other), JSON, case.body).await.is_problem(400, "invalid_request");
            }
        }
        if route.takes != Takes::Nothing {
            for body in NONSENSE.into_iter().chain(case.bad_bodies.iter().copied()) {
                for headers in [JSON, &[]] {
                    let refused = ask(&path, headers, body).await;
                    refused.is_problem(400, "invalid_request");
                    assert!(!refused.text("detail").contains("nonsense"), "{what}: {refused:?}");
                }
            }
            ask(&path, FORM, case.body).await.is_problem(415, "unsupported_media_type");
            let long = format!("{{\"a\": \"{}\"}}", "x".repeat(5000));
            ask(&path, JSON, &long).await.is_problem(413, "too_large");
        }
        for query in case.bad_queries {
            ask(&format!("{path}?{query}"), JSON, case.body).await.is_problem(400, "invalid_request");
        }
    }
    assert_eq!(server.everything().await, before, "what was refused changed something");
}

async fn what_is_not_there_is_not_found(place: Place) {
    let server = Server::start(place).await;
    for path in [
        "//",
        "/v1",
        "/v1/",
        "/v1/pools/stability",
        "/v1/leases",
        "/v1/leases/",
        "/V1/pools",
        "//v1/pools",
        "/v1//pools",
        "/v1/./pools",
        "/v1/%70ools",
        "/v1/pools//stats",
        "/v1/pools/a/b/c",
        "/v1/leases/x/y",
        "/v1/pools/stability/keys/x/y",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
            server.ask(method, path, &[], "").await.is_problem(404, "not_found");
        }
    }
}
