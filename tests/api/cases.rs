//! One case for each route of the table: who may ask, a body that is right, and some that are wrong.

use keylend::domain::Role;
use keylend::http::routes::{ROUTES, Route};

/// What a test knows of a route.
pub struct Case {
    pub method: &'static str,
    pub path: &'static str,
    /// Who may, besides an admin; none = nobody else. None = everybody, without a token.
    pub roles: Option<&'static [Role]>,
    /// A body that the route takes; empty = none.
    pub body: &'static str,
    /// Bodies that it does not take, besides those that no route takes.
    pub bad_bodies: &'static [&'static str],
    /// Queries that it does not take.
    pub bad_queries: &'static [&'static str],
}

const SERVICE: Option<&[Role]> = Some(&[Role::Service]);
const STATS: Option<&[Role]> = Some(&[Role::Stats]);
const ADMIN: Option<&[Role]> = Some(&[]);

const KEY_REFS: &[&str] = &[
    r#"{}"#,
    r#"{"id": "x"}"#,
    r#"{"id": "0123456789ABCDEF01234567"}"#,
    r#"{"api_key": ""}"#,
    r#"{"api_key": {"$gt": ""}}"#,
    r#"{"api_key": "sk-one", "id": "0123456789abcdef01234567"}"#,
    r#"{"api_key": "sk-one", "more": 1}"#,
    r#"["sk-one", null]"#,
];

const fn case(method: &'static str, path: &'static str, roles: Option<&'static [Role]>) -> Case {
    Case { method, path, roles, body: "", bad_bodies: &[], bad_queries: &[] }
}

const CASES: &[Case] = &[
    Case {
        body: r#"{"ttl_seconds": 60}"#,
        bad_bodies: &[
            r#"{"ttl_seconds": 0}"#,
            r#"{"ttl_seconds": -1}"#,
            r#"{"ttl_seconds": 3601}"#,
            r#"{"ttl_seconds": 1e300}"#,
            r#"{"ttl_seconds": 18446744073709551616}"#,
            r#"{"ttl_seconds": 60, "more": 1}"#,
            "[60]",
        ],
        ..case("POST", "/v1/pools/{pool}/leases", SERVICE)
    },
    Case {
        body: r#"{"outcome": "unused"}"#,
        bad_bodies: &[
            "{}",
            r#"{"outcome": "lost"}"#,
            r#"{"outcome": "used", "retry_after_seconds": 1}"#,
            r#"{"outcome": "rate_limited", "retry_after_seconds": -1}"#,
            r#"{"outcome": "rate_limited", "retry_after_seconds": 1e300}"#,
            r#"{"outcome": "used", "more": 1}"#,
            r#"["used", null]"#,
        ],
        ..case("POST", "/v1/leases/{lease_id}/report", SERVICE)
    },
    Case {
        body: r#"{"ttl_seconds": 60}"#,
        bad_bodies: &[
            "{}",
            r#"{"ttl_seconds": 0}"#,
            r#"{"ttl_seconds": -1}"#,
            r#"{"ttl_seconds": 3601}"#,
            r#"{"ttl_seconds": 1e300}"#,
            r#"{"ttl_seconds": 60, "more": 1}"#,
            "[60]",
        ],
        ..case("POST", "/v1/leases/{lease_id}/renew", SERVICE)
    },
    case("GET", "/v1/leases/{lease_id}", SERVICE),
    case("DELETE", "/v1/leases/{lease_id}", ADMIN),
    Case {
        bad_queries: &["max_uses=-1", "max_uses=10001", "max_uses=1e300", "max_uses=", "more=1"],
        ..case("POST", "/v1/pools/{pool}/find_usable_key", SERVICE)
    },
    Case {
        body: r#"{"api_key": "sk-unknown"}"#,
        bad_bodies: KEY_REFS,
        ..case("POST", "/v1/pools/{pool}/increment_usage", SERVICE)
    },
    Case {
        body: r#"{"api_key": "sk-unknown"}"#,
        bad_bodies: KEY_REFS,
        ..case("POST", "/v1/pools/{pool}/look_up", SERVICE)
    },
    case("GET", "/v1/pools", STATS),
    case("GET", "/v1/stats", STATS),
    case("GET", "/v1/pools/{pool}/stats", STATS),
    Case {
        bad_queries: &[
            "state=Usable",
            "state=",
            "limit=0",
            "limit=-1",
            "limit=1001",
            "limit=18446744073709551616",
            "cursor=x",
            "cursor=",
            "cursor=1.2.0123456789abcdef01234567",
            "more=1",
        ],
        ..case("GET", "/v1/pools/{pool}/keys", ADMIN)
    },
    Case {
        body: r#"{"api_keys": []}"#,
        bad_bodies: &[
            "{}",
            r#"{"api_keys": "sk"}"#,
            r#"{"api_keys": [1]}"#,
            r#"{"api_keys": [], "more": 1}"#,
            r#"[["sk-two"]]"#,
        ],
        ..case("POST", "/v1/pools/{pool}/keys", ADMIN)
    },
    case("GET", "/v1/pools/{pool}/keys/{id}", ADMIN),
    Case {
        body: r#"{"note": "seen"}"#,
        bad_bodies: &[
            "{}",
            r#"{"is_active": null}"#,
            r#"{"usage_count": -1}"#,
            r#"{"usage_count": 9007199254740993}"#,
            r#"{"usage_count": 1e300}"#,
            r#"{"resting_until": "2026-01-02T03:04:05.678Z"}"#,
            r#"{"note": 1}"#,
            r#"{"api_key": "a b"}"#,
            r#"{"note": "seen", "more": 1}"#,
            r#"[false, 1, null, "x", "sk-two"]"#,
        ],
        ..case("PATCH", "/v1/pools/{pool}/keys/{id}", ADMIN)
    },
    case("DELETE", "/v1/pools/{pool}/keys/{id}", ADMIN),
    Case {
        body: r#"{"ids": ["0123456789abcdef01234567"]}"#,
        bad_bodies: &[
            "{}",
            r#"{"all": false}"#,
            r#"{"all": 1}"#,
            r#"{"ids": []}"#,
            r#"{"ids": ["x"]}"#,
            r#"{"ids": ["0123456789abcdef01234567"], "all": true}"#,
            r#"{"all": true, "more": 1}"#,
            "[null, true]",
        ],
        ..case("POST", "/v1/pools/{pool}/reset", ADMIN)
    },
    case("POST", "/v1/pools/{pool}/keys/{id}/verify", ADMIN),
    case("POST", "/v1/pools/{pool}/generate", ADMIN),
    case("GET", "/v1/pools/{pool}/export", ADMIN),
    case("GET", "/api/plantid", SERVICE),
    case("GET", "/api/healthid", SERVICE),
    case("GET", "/api/stats", STATS),
    case("GET", "/v1/events", STATS),
    case("GET", "/metrics", STATS),
    case("GET", "/", None),
    case("GET", "/page/{file}", None),
    case("GET", "/openapi.json", None),
    case("GET", "/docs", None),
    case("GET", "/docs/{file}", None),
    case("GET", "/livez", None),
    case("GET", "/readyz", None),
];

/// Every route with its case. A route without one, or a case without a route, fails.
pub fn cases() -> impl Iterator<Item = (&'static Route, &'static Case)> {
    assert_eq!(CASES.len(), ROUTES.len(), "each route has one case in tests/api/cases.rs");
    ROUTES.iter().map(|route| {
        let case = CASES.iter().find(|case| route.method == case.method && route.path == case.path);
        (route, case.unwrap_or_else(|| panic!("{} {} has no case in tests/api/cases.rs", route.method, route.path)))
    })
}

/// A path of the pattern `path`.
pub fn filled(path: &str, pool: &str, id: &str, lease_id: &str) -> String {
    let path = path.replace("{pool}", pool).replace("{id}", id).replace("{lease_id}", lease_id);
    path.replace("/docs/{file}", "/docs/swagger-ui.css").replace("{file}", "page.css")
}
