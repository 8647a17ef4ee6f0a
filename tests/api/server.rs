//! The routes over a store of their own, asked without a socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use keylend::audit::Audit;
use keylend::domain::{Lapsed, Picks, Policy, Provider, Token, TokenSecret, Tokens, Verify};
use keylend::http::{self, Frame, Hosts, Limits};
use keylend::pool::Pools;
use keylend::store::Page;
use keylend::wire::record::KeyRecordReply;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use warp::http::{HeaderMap, Method, Request};

use crate::place::{Place, TIME_LIMIT};

/// The limits of tests: sizes that one can go beyond, times that are only over where a test makes them so.
pub fn limits() -> Limits {
    let long = Duration::from_secs(600);
    let limits = Limits::new(4096, 1024, TIME_LIMIT);
    Limits { import: 100_000, head: long, piece: long, whole_body: long, handler: long, ..limits }
}

/// A frame with these limits in which callers need no token, and what changes the tokens.
pub fn frame(limits: Limits) -> (Frame, watch::Sender<Arc<Tokens>>) {
    let tokens = watch::Sender::new(Arc::default());
    let (open_flask, hosts, stopping) = (false, Hosts::any(), CancellationToken::new());
    (
        Frame { limits, tokens: tokens.subscribe(), open_flask, hosts, tls: None, audit: Audit::default(), stopping },
        tokens,
    )
}

/// The routes of one test.
pub struct Server {
    pub pools: Pools,
    pub frame: Frame,
    tokens: watch::Sender<Arc<Tokens>>,
    _place: Place,
}

/// What a route answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// JSON, or text where the answer is none; null without a body.
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
        // A provider that is not there: whoever asks it learns nothing.
        let nobody = Provider { verify: Some(Verify::at("http://127.0.0.1:1/")), ..Provider::default() };
        policies[0].provider = Arc::new(nobody);
        policies.push(Policy::new("once".parse().unwrap(), Picks::LeastRecentlyUsed, 1));
        let refund = Policy::new("refund".parse().unwrap(), Picks::LeastRecentlyUsed, 1);
        policies.push(Policy { lapsed: Lapsed::Refund, ..refund });
        let pools = Pools::new(place.store().await, policies, TIME_LIMIT);
        pools.prepare().await.unwrap();
        let (frame, tokens) = frame(limits());
        Self { pools, frame, tokens, _place: place }
    }

    /// The same with keys in a pool.
    pub async fn with_keys(place: Place, pool: &str, keys: &[&str]) -> Self {
        let server = Self::start(place).await;
        let answer = server.post(&format!("/v1/pools/{pool}/keys"), json!({"api_keys": keys})).await;
        assert_eq!(answer.body["added"], keys.len(), "{answer:?}");
        server
    }

    /// What `/api/stats` says once it is as expected: stats can be a moment old.
    pub async fn until_stats(&self, expected: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + TIME_LIMIT;
        loop {
            let stats = self.get("/api/stats").await.body;
            if expected(&stats) {
                return stats;
            }
            assert!(std::time::Instant::now() < deadline, "{stats}");
        }
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
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let Ok(reply) = http::service(self.pools.clone(), self.frame.clone()).oneshot(request).await;
        let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
        let endless = headers.get("content-type").is_some_and(|media_type| media_type == "text/event-stream");
        let mut body = reply.into_body();
        let body = match endless {
            // What never ends is read as far as its first piece.
            true => body.frame().await.unwrap().map_err(Into::into).unwrap().into_data().ok().unwrap(),
            false => body.collect().await.map_err(Into::into).unwrap().to_bytes(),
        };
        let body = match headers.get("content-type").map(|media_type| media_type.to_str().unwrap()) {
            None => Value::Null,
            Some("application/json" | "application/problem+json") => serde_json::from_slice(&body).unwrap(),
            Some(_) => Value::from(std::str::from_utf8(&body).unwrap()),
        };
        Answer { status, headers, body }
    }

    /// Every key of every pool with all that is stored of it, past tokens: what no refused request may change.
    pub async fn everything(&self) -> Vec<Value> {
        let mut keys = Vec::new();
        for pool in self.pools.all() {
            let all = pool.list(Page { after: None, limit: 1000, state: None }).await.unwrap();
            let shown = all.value.iter().map(|record| KeyRecordReply::new(pool.policy(), record, all.now));
            keys.extend(shown.map(|key| serde_json::to_value(key).unwrap()));
        }
        keys
    }

    /// From here on callers need a token: these, each an entry without its digest. The token's text is its name.
    /// One that ends has its end after a blank.
    pub fn need_tokens(&self, entries: &[&str]) {
        let token = |entry: &&str| {
            let name = entry.split(':').next().unwrap();
            let (rights, until) =
                entry.split_once(' ').map_or((*entry, String::new()), |(rights, until)| (rights, format!(":{until}")));
            Token::parse(&format!("{rights}:{}{until}", TokenSecret::new(name).digest())).unwrap()
        };
        self.tokens.send_replace(Arc::new(Tokens::new(entries.iter().map(token).collect())));
    }
}
