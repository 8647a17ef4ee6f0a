//! Who may ask for what.

use keylend::domain::Role;
use serde_json::{Value, json};
use warp::http::Method;

use crate::cases::{cases, filled};
use crate::place::Place;
use crate::server::{Answer, Server};

on_both_stores!(
    every_route_is_open_to_its_roles_and_no_others,
    a_token_for_other_pools_learns_nothing_of_them,
    leases_tell_the_token_that_has_them,
    tokens_can_change_while_the_server_runs,
    a_token_that_has_ended_opens_nothing,
);

/// A token's name is its text.
const TOKENS: [&str; 6] =
    ["a:admin", "s:service", "t:stats", "own:admin@stability+once", "other:admin@plantid", "both:service+stats"];

const ROLES: [(&str, &[Role]); 3] =
    [("s", &[Role::Service]), ("t", &[Role::Stats]), ("both", &[Role::Service, Role::Stats])];

async fn ask(server: &Server, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    server.ask(Method::from_bytes(method.as_bytes()).unwrap(), path, &headers, body).await
}

/// A pool with a key on lease: the key's id and the lease's.
async fn with_a_lease(place: Place) -> (Server, String, String) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    let lent = server.post_empty("/v1/pools/stability/leases").await;
    let (id, lease_id) = (lent.text("id").to_owned(), lent.text("lease_id").to_owned());
    (server, id, lease_id)
}

async fn every_route_is_open_to_its_roles_and_no_others(place: Place) {
    let (server, id, lease_id) = with_a_lease(place).await;
    server.need_tokens(&TOKENS);
    let path = |path| filled(path, "stability", &id, &lease_id);
    let before = server.everything().await;
    for (route, case) in cases() {
        let what = format!("{} {}", case.method, case.path);
        let Some(roles) = case.roles else { continue };
        for token in ["unknown", "", "A", "a s"] {
            let refused = ask(&server, token, case.method, &path(case.path), case.body).await;
            refused.is_problem(401, "unauthenticated");
            assert_eq!(refused.headers["www-authenticate"], "Bearer", "{what}");
        }
        for headers in [&[][..], &[("authorization", "a")], &[("authorization", "Basic a")]] {
            let refused = server.ask(route.method.clone(), &path(case.path), headers, case.body).await;
            refused.is_problem(401, "unauthenticated");
        }
        for (token, has) in ROLES {
            if !has.iter().any(|role| roles.contains(role)) {
                ask(&server, token, case.method, &path(case.path), case.body).await.is_problem(403, "forbidden");
            }
        }
        if case.path.starts_with("/api/") {
            ask(&server, "own", case.method, case.path, case.body).await.is_problem(403, "forbidden");
        }
        if case.path.contains('{') {
            ask(&server, "other", case.method, &path(case.path), case.body).await.is_problem(403, "forbidden");
        }
    }
    assert_eq!(server.everything().await, before, "what was refused changed something");
    for (_, case) in cases() {
        let may =
            ROLES.iter().filter(|(_, has)| has.iter().any(|role| case.roles.is_none_or(|may| may.contains(role))));
        // The older routes are of two pools that this token is not for.
        let own = (!case.path.starts_with("/api/")).then_some("own");
        let may = may.map(|(token, _)| *token).chain(["a"]).chain(own);
        for token in may.chain(case.roles.is_none().then_some("unknown")) {
            let answer = ask(&server, token, case.method, &path(case.path), case.body).await;
            let allowed = answer.status != 401 && answer.status != 403 && answer.status < 500;
            // Earlier ones may have leased all there was.
            let allowed = allowed || answer.body["code"] == "no_usable_key";
            assert!(allowed, "{token}: {} {}: {answer:?}", case.method, case.path);
        }
    }
}

async fn a_token_for_other_pools_learns_nothing_of_them(place: Place) {
    let (server, id, lease_id) = with_a_lease(place).await;
    server.need_tokens(&TOKENS);
    let nothing = lease_id.replace("stability", "nothing");
    for (_, case) in cases().filter(|(_, case)| case.path.contains('{')) {
        let there =
            ask(&server, "other", case.method, &filled(case.path, "stability", &id, &lease_id), case.body).await;
        let not_there =
            ask(&server, "other", case.method, &filled(case.path, "nothing", &id, &nothing), case.body).await;
        assert_eq!((there.status, &there.body), (not_there.status, &not_there.body), "{} {}", case.method, case.path);
    }
    let names = async |token, path| {
        let answer = ask(&server, token, "GET", path, "").await;
        let pools = answer.body["pools"].as_array().unwrap().iter().map(|pool| pool["name"].clone());
        Value::from(pools.collect::<Vec<_>>())
    };
    for path in ["/v1/pools", "/v1/stats"] {
        assert_eq!(names("other", path).await, json!(["plantid"]));
        assert_eq!(names("own", path).await, json!(["stability", "once"]));
        assert_eq!(names("t", path).await, json!(["stability", "plantid", "healthid", "once", "refund"]));
    }
    // A token that is bound to a pool which is not there is told so, and of no other.
    server.need_tokens(&["lost:service@nothing"]);
    let unknown = ask(&server, "lost", "POST", "/v1/pools/nothing/leases", "").await;
    unknown.is_problem(404, "unknown_pool");
    assert!(!unknown.text("detail").contains("stability"), "{unknown:?}");
}

async fn leases_tell_the_token_that_has_them(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-one"]).await;
    server.need_tokens(&TOKENS);
    let lent = ask(&server, "s", "POST", "/v1/pools/stability/leases", "").await;
    let lease = format!("/v1/leases/{}", lent.text("lease_id"));
    let shown = ask(&server, "s", "GET", &lease, "").await;
    let held = json!({"pool": "stability", "id": lent.text("id"), "by": "s", "expires_at": lent.text("expires_at")});
    assert_eq!((shown.status, &shown.body), (200, &held));
    let key = ask(&server, "a", "GET", &format!("/v1/pools/stability/keys/{}", lent.text("id")), "").await;
    assert_eq!(key.body["leases"], json!([{"by": "s", "expires_at": lent.text("expires_at")}]));

    // The same Idempotency-Key of another token is another request.
    let again = async |token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("idempotency-key", "order-1")];
        server.ask(Method::POST, "/v1/pools/stability/leases", &headers, "").await
    };
    let (first, same, other) = (again("s").await, again("s").await, again("both").await);
    assert_eq!(first.text("lease_id"), same.text("lease_id"));
    assert_ne!(first.text("lease_id"), other.text("lease_id"));
}

async fn a_token_that_has_ended_opens_nothing(place: Place) {
    let server = Server::start(place).await;
    server.need_tokens(&["past:admin 2026-01-01", "coming:admin 9999-12-31", "at:admin 2026-01-01T00:00:00Z"]);
    assert_eq!(ask(&server, "coming", "GET", "/v1/stats", "").await.status, 200);
    for (_, case) in cases().filter(|(_, case)| case.roles.is_some()) {
        let path = filled(case.path, "stability", "0123456789abcdef01234567", "x");
        for token in ["past", "at"] {
            let refused = ask(&server, token, case.method, &path, case.body).await;
            refused.is_problem(401, "unauthenticated");
            assert!(refused.text("detail").contains("has ended"), "{refused:?}");
        }
    }
}

async fn tokens_can_change_while_the_server_runs(place: Place) {
    let server = Server::start(place).await;
    assert_eq!(ask(&server, "s", "GET", "/v1/stats", "").await.status, 200);
    server.need_tokens(&["s:service"]);
    ask(&server, "s", "GET", "/v1/stats", "").await.is_problem(403, "forbidden");
    server.need_tokens(&["s:stats"]);
    assert_eq!(ask(&server, "s", "GET", "/v1/stats", "").await.status, 200);
    server.need_tokens(&["new:stats"]);
    ask(&server, "s", "GET", "/v1/stats", "").await.is_problem(401, "unauthenticated");
}
