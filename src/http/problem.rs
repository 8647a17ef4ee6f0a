//! Problems: what goes wrong, as RFC 9457 says it. The one place where an error gets its code, status and text.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use warp::Reply;
use warp::http::StatusCode;
use warp::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::reply::Response;

use super::reply;
use crate::audit::NotWritten;
use crate::domain::{PoolName, PoolStats, State, Timestamp};
use crate::pool::PoolError;
use crate::store::StoreError;
use crate::wire::stats::KeyCountsReply;

/// A route's answer: a response, or the problem that stands in for it.
pub(super) type Answer = Result<Response, Problem>;

/// How long a caller waits, in seconds, before it asks again while the store is away or too many ask.
const RETRY_SOON: u64 = 1;

/// The stable name of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    NoUsableKey,
    StoreUnavailable,
    Overloaded,
    UnknownPool,
    UnknownKey,
    InvalidKey,
    KnownKey,
    NotFound,
    MethodNotAllowed,
    LeaseGone,
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    TooLarge,
    UnsupportedMediaType,
    TooManyRequests,
    CannotVerify,
    GenerationFailed,
    AuditUnavailable,
    Timeout,
    Internal,
}

impl Code {
    const ALL: [Self; 21] = [
        Self::NoUsableKey,
        Self::StoreUnavailable,
        Self::Overloaded,
        Self::UnknownPool,
        Self::UnknownKey,
        Self::InvalidKey,
        Self::KnownKey,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::LeaseGone,
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::TooManyRequests,
        Self::CannotVerify,
        Self::GenerationFailed,
        Self::AuditUnavailable,
        Self::Timeout,
        Self::Internal,
    ];

    /// Name, status, title.
    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::NoUsableKey => ("no_usable_key", StatusCode::SERVICE_UNAVAILABLE, "No usable key"),
            Self::StoreUnavailable => ("store_unavailable", StatusCode::SERVICE_UNAVAILABLE, "Store unavailable"),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Overloaded"),
            Self::UnknownPool => ("unknown_pool", StatusCode::NOT_FOUND, "Unknown pool"),
            Self::UnknownKey => ("unknown_key", StatusCode::NOT_FOUND, "Unknown key"),
            Self::InvalidKey => ("invalid_key", StatusCode::CONFLICT, "Invalid key"),
            Self::KnownKey => ("known_key", StatusCode::CONFLICT, "Known key"),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::LeaseGone => ("lease_gone", StatusCode::GONE, "Lease gone"),
            Self::InvalidRequest => ("invalid_request", StatusCode::BAD_REQUEST, "Invalid request"),
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "Unauthenticated"),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Forbidden"),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE, "Too large"),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            }
            Self::TooManyRequests => ("too_many_requests", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::CannotVerify => ("cannot_verify", StatusCode::CONFLICT, "Cannot verify"),
            Self::GenerationFailed => ("generation_failed", StatusCode::BAD_GATEWAY, "Generation failed"),
            Self::AuditUnavailable => ("audit_unavailable", StatusCode::SERVICE_UNAVAILABLE, "Audit unavailable"),
            Self::Timeout => ("timeout", StatusCode::GATEWAY_TIMEOUT, "Timeout"),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
        }
    }
}

impl Code {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        self.row().0
    }

    /// The status of its answers.
    pub(super) const fn status(self) -> StatusCode {
        self.row().1
    }
}

/// The codes of all problems, each with its status.
pub fn codes() -> impl Iterator<Item = (&'static str, u16)> {
    Code::ALL.into_iter().map(Code::row).map(|(name, status, _)| (name, status.as_u16()))
}

/// A problem, ready to be sent. Its text never repeats what the caller sent.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    retry_after_seconds: Option<u64>,
    /// The methods that the path has, where the one asked is none of them.
    allow: Option<HeaderValue>,
    pool: Option<(PoolName, Box<PoolStats>)>,
}

/// What went wrong, and what to do next (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    /// Stable: what programs go by.
    #[schema(value_type = Code)]
    code: &'static str,
    /// What to do next.
    detail: &'a str,
    /// Where there is no usable key: the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PoolName>)]
    pool: Option<&'a str>,
    /// And why.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<KeyCountsReply>,
    /// And when the next one is due by itself; null where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>)]
    next_due_at: Option<Option<Timestamp>>,
}

impl ProblemBody<'_> {
    /// A problem with this code, as a description of the interface shows one.
    pub(super) fn example(code: Code) -> Value {
        let (name, status, title) = code.row();
        json!({
            "type": format!("urn:keylend:problem:{name}"), "title": title, "status": status.as_u16(), "code": name,
            "detail": "what to do next",
        })
    }
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let names = Self::ALL.map(Self::name);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for Code {}

impl Problem {
    /// A problem; `detail` says what to do next.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after_seconds: None, allow: None, pool: None }
    }

    /// The caller's mistake; `detail` says what is expected.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// Nothing has this path.
    pub(super) fn not_found() -> Self {
        Self::new(Code::NotFound, "there is nothing here; the routes are under /v1/pools and /v1/leases")
    }

    /// The path is there, with the methods `allow`.
    pub(super) fn method_not_allowed(allow: HeaderValue) -> Self {
        let detail = "this path takes another method; the header Allow names those there are";
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    /// As many requests are under way as may be.
    pub(super) fn crowded() -> Self {
        Self::new(Code::Overloaded, "too many requests are under way; ask again").retry_soon()
    }

    /// The caller asks more often than it may; after `wait` it may again.
    pub(super) fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
        Self { retry_after_seconds: Some(seconds), ..Self::new(Code::TooManyRequests, detail) }
    }

    /// The instance is about to end.
    pub(super) fn stopping() -> Self {
        Self::new(Code::Overloaded, "this instance is stopping; ask another one").retry_soon()
    }

    /// The same for a list of keys of which the first ones were added before it went wrong.
    pub(super) fn after_adding_some(mut self) -> Self {
        self.detail.push_str("; keys before that place were added: send the rest, or all of it in parts");
        self
    }

    fn retry_soon(self) -> Self {
        Self { retry_after_seconds: Some(RETRY_SOON), ..self }
    }
}

impl From<NotWritten> for Problem {
    fn from(_: NotWritten) -> Self {
        let detail = "an admin act is written down before it is done, and that failed: nothing was changed. See to \
                      KEYLEND_AUDIT_FILE on the server, and ask again";
        Self::new(Code::AuditUnavailable, detail)
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::UnknownPool { known } => {
                Self::new(Code::UnknownPool, format!("there is no pool of this name; there are: {known}"))
            }
            PoolError::UnknownKey => {
                Self::new(Code::UnknownKey, "the pool has no such key; add it, or ask another pool")
            }
            PoolError::InvalidKey => Self::new(
                Code::InvalidKey,
                "the key's usage_count is no number that can be counted on; nothing was changed: correct it in the store",
            ),
            PoolError::KnownSecret => Self::new(
                Code::KnownKey,
                "another key of the pool has this api_key; nothing was changed: give another one, or remove that key first",
            ),
            PoolError::LeaseGone => Self::new(
                Code::LeaseGone,
                "the lease was settled before or has lapsed; nothing was changed. A use that was reported, or lapsed, is settled already: do not retry",
            ),
            PoolError::NoUsableKey { pool, stats } => Self {
                code: Code::NoUsableKey,
                detail: why_none(&pool, &stats),
                retry_after_seconds: stats.retry_after().map(|wait| wait.as_millis().div_ceil(1000) as u64),
                allow: None,
                pool: Some((pool, stats)),
            },
            PoolError::Overloaded => {
                Self::new(Code::Overloaded, "too many requests wait for this pool; ask again").retry_soon()
            }
            error @ PoolError::CannotVerify(_) => Self::new(Code::CannotVerify, error.to_string()),
            PoolError::NotGenerated(error) => Self::new(
                Code::GenerationFailed,
                format!("{error}; nothing was added: see to the pool's generate.command, or add a key by hand"),
            ),
            PoolError::Generating => {
                Self::new(Code::Overloaded, "a key is being generated for this pool already; ask again").retry_soon()
            }
            PoolError::MaybeCounted(error) => Self {
                detail:
                    "the store did not answer in time, and the use may be counted: look the key up before you repeat it"
                        .to_owned(),
                retry_after_seconds: None,
                ..Self::of_store(&error)
            },
            PoolError::Store(error) => Self::of_store(&error),
        }
    }
}

impl Problem {
    /// The caller learns what to do; the log gets the whole chain. That the store is away it was told already, once.
    fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::Away(_) | StoreError::Unresolved(_) | StoreError::Unusable(_) => {
                tracing::debug!(error = error.chain(), "the store is not available");
                Self::new(Code::StoreUnavailable, "the store did not answer in time; ask again").retry_soon()
            }
            StoreError::Refused(_) => {
                tracing::error!(error = error.chain(), "the store refused");
                Self::new(Code::Internal, "the store refused; the log says why")
            }
        }
    }
}

/// Why no key can be handed out: keys by state, and when the next is due.
fn why_none(pool: &PoolName, stats: &PoolStats) -> String {
    if stats.keys.total() == 0 {
        return format!("pool {pool} has no keys: add some with POST /v1/pools/{pool}/keys or `keylend keys add`");
    }
    let states = [State::Usable, State::Spent, State::Resting, State::Leased, State::Disabled, State::Invalid];
    let parts = states.into_iter().filter(|state| stats.keys.of(*state) > 0).map(|state| {
        let part = format!("{} {}", stats.keys.of(state), state.as_str());
        match stats.next_due_at.filter(|_| state == State::Resting) {
            Some(due) => format!("{part} until {due}"),
            None => part,
        }
    });
    format!("pool {pool}: {}", parts.collect::<Vec<_>>().join(", "))
}

impl Problem {
    /// Its body, as JSON.
    pub(super) fn body(&self) -> String {
        let (code, status, title) = self.code.row();
        let body = ProblemBody {
            r#type: format!("urn:keylend:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: &self.detail,
            pool: self.pool.as_ref().map(|(pool, _)| pool.as_str()),
            keys: self.pool.as_ref().map(|(_, stats)| KeyCountsReply::from(stats.keys)),
            next_due_at: self.pool.as_ref().map(|(_, stats)| stats.next_due_at),
        };
        serde_json::to_string(&body).expect("a problem has only text and numbers")
    }
}

impl Reply for Problem {
    fn into_response(self) -> Response {
        let mut response = reply::response(self.code.status(), "application/problem+json", self.body().into_bytes());
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            response.headers_mut().insert(ALLOW, allow);
        }
        if self.code == Code::Unauthenticated {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::stats::{Besides, Gathering, Group};
    use crate::provider::GenerateError;

    fn stats(rows: &[(State, u64)], due: Option<i64>) -> Box<PoolStats> {
        let mut gathering = Gathering::new(4, Timestamp::from_millis(1_000));
        for &(state, keys) in rows {
            let due_at = due.filter(|_| state == State::Resting).map(Timestamp::from_millis);
            gathering.add(&Group {
                state,
                usage_count: Some(1),
                keys,
                counted: 0,
                leased: 0,
                left: 0,
                last_used: None,
                due_at,
            });
        }
        Box::new(gathering.finish(Besides::default()))
    }

    #[tokio::test]
    async fn every_error_has_its_code_status_and_retry_after() {
        let pool: PoolName = "stability".parse().expect("valid");
        let none = |stats| PoolError::NoUsableKey { pool: pool.clone(), stats };
        let store =
            |error: fn(crate::store::error::Cause) -> StoreError| PoolError::Store(error("secret cause".into()));
        let rows: Vec<(PoolError, &str, u16, Option<&str>)> = vec![
            (PoolError::UnknownPool { known: "stability".into() }, "unknown_pool", 404, None),
            (PoolError::UnknownKey, "unknown_key", 404, None),
            (PoolError::InvalidKey, "invalid_key", 409, None),
            (PoolError::KnownSecret, "known_key", 409, None),
            (PoolError::LeaseGone, "lease_gone", 410, None),
            (PoolError::Overloaded, "overloaded", 503, Some("1")),
            (PoolError::CannotVerify(pool.clone()), "cannot_verify", 409, None),
            (PoolError::NotGenerated(GenerateError::Nothing.into()), "generation_failed", 502, None),
            (PoolError::Generating, "overloaded", 503, Some("1")),
            (none(stats(&[(State::Spent, 5)], None)), "no_usable_key", 503, None),
            (none(stats(&[(State::Leased, 1)], None)), "no_usable_key", 503, Some("5")),
            (none(stats(&[(State::Resting, 1)], Some(8_500))), "no_usable_key", 503, Some("8")),
            (store(StoreError::Away), "store_unavailable", 503, Some("1")),
            (store(StoreError::Unresolved), "store_unavailable", 503, Some("1")),
            (store(StoreError::Refused), "internal", 500, None),
            (PoolError::MaybeCounted(StoreError::Unresolved("lost".into())), "store_unavailable", 503, None),
        ];
        for (error, code, status, retry_after) in rows {
            let response = Problem::from(error).into_response();
            assert_eq!(response.status().as_u16(), status, "{code}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(
                response.headers().get(RETRY_AFTER).map(|value| value.to_str().expect("text")),
                retry_after,
                "{code}"
            );
            let body = hyper::body::Body::size_hint(response.body());
            assert!(body.lower() > 0);
        }
    }

    #[test]
    fn an_empty_answer_says_why_and_when() {
        let pool: PoolName = "stability".parse().expect("valid");
        let seen = why_none(&pool, &stats(&[(State::Spent, 5), (State::Resting, 1)], Some(1_767_323_100_000)));
        assert_eq!(seen, "pool stability: 5 spent, 1 resting until 2026-01-02T03:05:00.000Z");
        assert!(why_none(&pool, &stats(&[], None)).contains("keylend keys add"));
    }
}
