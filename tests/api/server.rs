//! The routes over a store of their own, asked without a socket.

use keylend::domain::{Lapsed, Picks, Policy};
use keylend::http::{self, Limits};
use keylend::pool::Pools;
use serde_json::{Value, json};
use warp::http::{HeaderMap, Method};

use crate::place::{Place, TIME_LIMIT};

/// Small, so that a test can go beyond them.
const LIMITS: Limits = Limits { body: 4096, import: 100_000 };

/// The routes of one test.
pub struct Server {
    pools: Pools,
    _place: Place,
}

/// What a route answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("no text {member} in {:?}", self.body))
    }

    /// Asserts that this is the problem `code`.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.body["title"].is_string() && self.body["detail"].is_string() && self.body["type"].is_string());
    }
}

impl Server {
    /// The built-in pools, and `once` (one use per key) and `refund` (lapsed leases go back).
    pub async fn start(place: Place) -> Self {
        let mut policies = Policy::built_in().to_vec();
        policies.push(Policy::new("once".parse().unwrap(), Picks::LeastRecentlyUsed, 1));
        let refund = Policy::new("refund".parse().unwrap(), Picks::LeastRecentlyUsed, 1);
        policies.push(Policy { lapsed: Lapsed::Refund, ..refund });
        let pools = Pools::new(place.store().await, policies, TIME_LIMIT);
        pools.prepare().await.unwrap();
        Self { pools, _place: place }
    }

    /// The same with keys in a pool.
    pub async fn with_keys(place: Place, pool: &str, keys: &[&str]) -> Self {
        let server = Self::start(place).await;
        let answer = server.post(&format!("/v1/pools/{pool}/keys"), json!({"api_keys": keys})).await;
        assert_eq!(answer.body["added"], keys.len(), "{answer:?}");
        server
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, &[("content-type", "application/json")], &body.to_string()).await
    }

    pub async fn post_empty(&self, path: &str) -> Answer {
        self.ask(Method::POST, path, &[], "").await
    }

    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.ask_bytes(method, path, headers, body.as_bytes()).await
    }

    pub async fn ask_bytes(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = warp::test::request().method(method.as_str()).path(path).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = request.reply(&http::routes(self.pools.clone(), LIMITS)).await;
        let body = if reply.body().is_empty() { Value::Null } else { serde_json::from_slice(reply.body()).unwrap() };
        Answer { status: reply.status().as_u16(), headers: reply.headers().clone(), body }
    }
}
