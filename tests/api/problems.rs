use warp::http::Method;

use crate::place::Place;
use crate::server::Server;

on_both_stores!(every_route_answers_nonsense_with_a_problem);

/// Method and path of every route that takes a body.
const WITH_BODY: [&str; 5] = [
    "/v1/pools/stability/increment_usage",
    "/v1/pools/stability/look_up",
    "/v1/pools/stability/keys",
    "/v1/leases/stability.0123456789abcdef01234567.0123456789abcdef0123456789abcdef/report",
    "/v1/leases/stability.0123456789abcdef01234567.0123456789abcdef0123456789abcdef/renew",
];

async fn every_route_answers_nonsense_with_a_problem(place: Place) {
    let server = Server::start(place).await;
    for path in ["/", "/v1", "/v1/pools/stability", "/v1/leases/", "/V1/pools", "/v1/pools/a/b/c", "/v1/leases/x/y"] {
        server.get(path).await.is_problem(404, "not_found");
    }
    for path in WITH_BODY.into_iter().chain(["/v1/pools/stability/find_usable_key", "/v1/pools/stability/leases"]) {
        for method in [Method::PUT, Method::DELETE, Method::PATCH] {
            server.ask(method, path, &[], "").await.is_problem(405, "method_not_allowed");
        }
    }
    for path in ["/v1/pools", "/v1/stats", "/v1/pools/stability/stats", "/readyz"] {
        server.post_empty(path).await.is_problem(405, "method_not_allowed");
    }
    for path in WITH_BODY {
        for body in ["", "{", "nonsense", "\u{0}", "[[[[", "{\"a\":1}", "null", "0"] {
            let answer = server.ask(Method::POST, path, &[("content-type", "application/json")], body).await;
            answer.is_problem(400, "invalid_request");
            assert!(!answer.text("detail").contains("nonsense"));
        }
    }
    let stats = server.get("/v1/pools/stability/stats").await;
    assert_eq!(stats.body["keys"]["total"], 0);
}
