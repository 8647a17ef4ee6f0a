//! The route table: one row a route. It is the one truth of what there is and who may ask for it.

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::http::header::HeaderValue;
use warp::reply::Response;

use super::problem::Problem;
use super::{
    Frame, docs, events, find_usable_key, flask, generate, health, increment_usage, keys, leases, look_up, metrics,
    openapi, page, recover, stats, verify,
};
use crate::domain::Role;
use crate::pool::Pools;

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its method; HEAD is answered where GET is.
    pub method: Method,
    /// Its path, with a name in braces where a segment is free.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    /// What the caller sends.
    pub takes: Takes,
    /// How long it may take.
    pub pace: Pace,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, at any time: it is never refused for want of a token or of room.
    Open,
    /// Who has a token with this role; everybody where no tokens are set.
    Role(Role),
    /// The same, or everybody where the older server's routes are open.
    Flask(Role),
}

/// What the caller sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing; a body is passed over.
    Nothing,
    /// JSON, read as a whole before the handler is asked.
    Json,
    /// Keys as JSON, or as lines that the handler reads piece by piece.
    Keys,
}

/// How long a route may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A few answers of the store.
    Quick,
    /// The same, and what the caller is willing to wait (`Prefer: wait`).
    Waiting,
    /// As long as its pieces come in time: it goes over a whole pool.
    Long,
}

const OPEN: Access = Access::Open;
const SERVICE: Access = Access::Role(Role::Service);
const STATS: Access = Access::Role(Role::Stats);
const TAKE: Access = Access::Flask(Role::Service);
const WATCH: Access = Access::Flask(Role::Stats);
const ADMIN: Access = Access::Role(Role::Admin);

/// All routes.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    Route::new(Method::POST,   "/v1/pools/{pool}/leases",          SERVICE, Takes::Json,    Pace::Waiting),
    Route::new(Method::POST,   "/v1/leases/{lease_id}/report",     SERVICE, Takes::Json,    Pace::Quick),
    Route::new(Method::POST,   "/v1/leases/{lease_id}/renew",      SERVICE, Takes::Json,    Pace::Quick),
    Route::new(Method::GET,    "/v1/leases/{lease_id}",            SERVICE, Takes::Nothing, Pace::Quick),
    Route::new(Method::DELETE, "/v1/leases/{lease_id}",            ADMIN,   Takes::Nothing, Pace::Quick),
    Route::new(Method::POST,   "/v1/pools/{pool}/find_usable_key", SERVICE, Takes::Nothing, Pace::Quick),
    Route::new(Method::POST,   "/v1/pools/{pool}/increment_usage", SERVICE, Takes::Json,    Pace::Quick),
    Route::new(Method::POST,   "/v1/pools/{pool}/look_up",         SERVICE, Takes::Json,    Pace::Quick),
    Route::new(Method::GET,    "/v1/pools",                        STATS,   Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/v1/stats",                        STATS,   Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/v1/pools/{pool}/stats",           STATS,   Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/v1/events",                       STATS,   Takes::Nothing, Pace::Long),
    Route::new(Method::GET,    "/v1/pools/{pool}/keys",            ADMIN,   Takes::Nothing, Pace::Quick),
    Route::new(Method::POST,   "/v1/pools/{pool}/keys",            ADMIN,   Takes::Keys,    Pace::Long),
    Route::new(Method::GET,    "/v1/pools/{pool}/keys/{id}",       ADMIN,   Takes::Nothing, Pace::Quick),
    Route::new(Method::PATCH,  "/v1/pools/{pool}/keys/{id}",       ADMIN,   Takes::Json,    Pace::Quick),
    Route::new(Method::DELETE, "/v1/pools/{pool}/keys/{id}",       ADMIN,   Takes::Nothing, Pace::Quick),
    Route::new(Method::POST,   "/v1/pools/{pool}/keys/{id}/verify", ADMIN,  Takes::Nothing, Pace::Long),
    Route::new(Method::POST,   "/v1/pools/{pool}/generate",        ADMIN,   Takes::Nothing, Pace::Long),
    Route::new(Method::POST,   "/v1/pools/{pool}/reset",           ADMIN,   Takes::Json,    Pace::Long),
    Route::new(Method::GET,    "/v1/pools/{pool}/export",          ADMIN,   Takes::Nothing, Pace::Long),
    Route::new(Method::GET,    "/api/plantid",                     TAKE,    Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/api/healthid",                    TAKE,    Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/api/stats",                       WATCH,   Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/metrics",                         STATS,   Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/",                                OPEN,    Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/page/{file}",                     OPEN,    Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/openapi.json",                    OPEN,    Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/docs",                            OPEN,    Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/docs/{file}",                     OPEN,    Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/livez",                           OPEN,    Takes::Nothing, Pace::Quick),
    Route::new(Method::GET,    "/readyz",                          OPEN,    Takes::Nothing, Pace::Quick),
];

impl Route {
    const fn new(method: Method, path: &'static str, access: Access, takes: Takes, pace: Pace) -> Self {
        Self { method, path, access, takes, pace }
    }

    fn is_at(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let fits = |(expected, segment): (&str, &str)| match expected.starts_with('{') {
            true => !segment.is_empty(),
            false => segment == expected,
        };
        self.path.split('/').all(|expected| segments.next().is_some_and(|segment| fits((expected, segment))))
            && segments.next().is_none()
    }
}

/// The route of a request, or the problem that there is none.
pub(super) fn find(method: &Method, path: &str) -> Result<&'static Route, Problem> {
    let asked = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for route in ROUTES.iter().filter(|route| route.is_at(path)) {
        if route.method == asked {
            return Ok(route);
        }
        allowed.push(route.method.as_str());
        if route.method == Method::GET {
            allowed.push("HEAD");
        }
    }
    if allowed.is_empty() {
        return Err(Problem::not_found());
    }
    let allowed = HeaderValue::try_from(allowed.join(", ")).expect("methods are made of letters");
    Err(Problem::method_not_allowed(allowed))
}

/// The handlers of all routes.
pub(super) fn handlers(pools: &Pools, frame: &Frame) -> BoxedFilter<(Response,)> {
    leases::routes()
        .or(find_usable_key::route())
        .unify()
        .or(increment_usage::route())
        .unify()
        .or(look_up::route())
        .unify()
        .or(stats::routes())
        .unify()
        .or(events::route(frame.stopping.clone()))
        .unify()
        .or(keys::routes(frame.limits))
        .unify()
        .or(verify::route())
        .unify()
        .or(generate::route())
        .unify()
        .or(flask::routes())
        .unify()
        .or(metrics::route())
        .unify()
        .or(openapi::route())
        .unify()
        .or(docs::routes())
        .unify()
        .or(page::routes())
        .unify()
        .or(health::routes(pools.clone(), frame.stopping.clone()))
        .unify()
        .recover(|rejection| async move { recover::problem(&rejection) })
        .unify()
        .boxed()
}

#[cfg(test)]
mod tests {
    use warp::Reply;

    use super::*;

    #[test]
    fn a_path_is_one_row_or_none() {
        let path = |method, path| find(&method, path).map(|route| route.path).ok();
        assert_eq!(path(Method::GET, "/v1/pools"), Some("/v1/pools"));
        assert_eq!(path(Method::HEAD, "/v1/pools/x/stats"), Some("/v1/pools/{pool}/stats"));
        assert_eq!(path(Method::DELETE, "/v1/leases/a.b.c"), Some("/v1/leases/{lease_id}"));
        for other in
            ["", "//", "/v1", "/v1/pools/", "/V1/pools", "//v1/pools", "/v1/pools//stats", "/v1/pools/x/stats/", "*"]
        {
            assert_eq!(path(Method::GET, other), None, "{other}");
        }
    }

    #[test]
    fn rows_do_not_stand_in_each_others_way() {
        for (place, route) in ROUTES.iter().enumerate() {
            let path = route.path.replace(['{', '}'], "");
            let found = find(&route.method, &path).expect("it is its own path");
            assert!(std::ptr::eq(found, &ROUTES[place]), "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn another_method_is_told_those_there_are() {
        for (path, allowed) in [
            ("/v1/pools/x/keys", "GET, HEAD, POST"),
            ("/v1/pools/x/keys/y", "GET, HEAD, PATCH, DELETE"),
            ("/v1/pools/x/leases", "POST"),
        ] {
            let problem = find(&Method::OPTIONS, path).expect_err(path).into_response();
            assert_eq!(
                (problem.status().as_u16(), &problem.headers()["allow"]),
                (405, &HeaderValue::from_static(allowed))
            );
        }
    }
}
