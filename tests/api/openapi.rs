//! The description of the interface, and the page that shows it.

use std::collections::BTreeSet;

use keylend::http::routes::{Access, ROUTES, Takes};
use serde_json::Value;

use crate::place::Place;
use crate::server::Server;

on_both_stores!(the_description_is_that_of_the_route_table, the_page_has_all_its_parts_with_it);

/// Every `$ref` below a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

async fn the_description_is_that_of_the_route_table(place: Place) {
    let server = Server::start(place).await;
    let answer = server.get("/openapi.json").await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    let document = answer.body;
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let what = format!("{} {path}", method.to_uppercase());
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{what}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{what}");
            described.insert(what);
        }
    }
    let there_are: BTreeSet<String> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(described, there_are);
    for route in ROUTES {
        let what = format!("{} {}", route.method, route.path);
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let (needs, security) = match route.access {
            Access::Open => ("Open: needs no token".to_owned(), serde_json::json!([])),
            Access::Role(role) => (format!("role `{}`.", role.as_str()), serde_json::json!([{"token": []}])),
            Access::Flask(role) => {
                (format!("role `{}`, unless", role.as_str()), serde_json::json!([{}, {"token": []}]))
            }
        };
        assert!(operation["description"].as_str().unwrap().contains(&needs), "{what}: {operation}");
        assert_eq!(operation["security"], security, "{what}");
        assert_eq!(operation["requestBody"].is_object(), route.takes != Takes::Nothing, "{what}");
        let places = route.path.split('/').filter(|segment| segment.starts_with('{')).count();
        let of_path = operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "path").count();
        assert_eq!(of_path, places, "{what}");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{what}");
        assert_eq!(answers.contains_key("401"), route.access != Access::Open, "{what}");
        for (status, answer) in answers.iter().filter(|(status, _)| !status.starts_with('2')) {
            assert!(answer["content"]["application/problem+json"].is_object(), "{what} {status}");
        }
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

async fn the_page_has_all_its_parts_with_it(place: Place) {
    let server = Server::start(place).await;
    let page = server.get("/docs").await;
    assert_eq!((page.status, &page.headers["content-type"]), (200, &"text/html".parse().unwrap()));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'; script-src 'self';") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    let html = page.body.as_str().unwrap();
    assert!(html.contains(r#"<base href="/docs/">"#) && !html.contains("://"), "{html}");
    let parts = html.split(['"']).filter(|part| part.ends_with(".js") || part.ends_with(".css"));
    let parts: Vec<&str> = parts.map(|part| part.trim_start_matches("./")).collect();
    assert!(parts.len() > 3, "{html}");
    for part in parts {
        let answer = server.get(&format!("/docs/{part}")).await;
        assert_eq!((answer.status, &answer.headers["x-content-type-options"]), (200, &"nosniff".parse().unwrap()));
    }
    let begins = server.get("/docs/swagger-initializer.js").await;
    assert!(begins.body.as_str().unwrap().contains(r#""url": "/openapi.json""#));
    for other in ["nothing", "..", "%2e%2e", "index.html%00"] {
        server.get(&format!("/docs/{other}")).await.is_problem(404, "not_found");
    }
}
