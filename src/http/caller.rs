//! Callers: who asks, by its token, and the pools that it may ask for.

use std::sync::Arc;

use warp::http::HeaderMap;
use warp::http::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN};
use warp::{Filter, Rejection};

use super::attempts::{Attempts, Peer};
use super::problem::{Code, Problem};
use crate::audit::{Audit, Begun, Deed, Doer};
use crate::domain::{KeyId, Role, Timestamp, Token, TokenSecret, Tokens};
use crate::metrics::Metrics;
use crate::pool::{Pool, PoolError, Pools};

/// What is known of a request before it is known who sent it.
pub(super) struct Asked<'a> {
    pub(super) headers: &'a HeaderMap,
    /// None where it did not come by a connection.
    pub(super) peer: Option<Peer>,
    /// This machine's clock, by which tokens end.
    pub(super) now: Timestamp,
    pub(super) attempts: &'a Attempts,
    /// The id of the request.
    pub(super) request: Option<String>,
    pub(super) audit: &'a Audit,
}

/// Who asks. Handlers reach pools through it alone, so none of them can forget whose pools they are.
#[derive(Clone)]
pub(super) struct Caller {
    /// None where callers need no token.
    token: Option<Arc<Token>>,
    pools: Arc<Pools>,
    audit: Audit,
    doer: Arc<Doer>,
}

impl Caller {
    /// Whoever it is, where no token is needed.
    pub(super) fn anybody(asked: Asked<'_>, pools: &Arc<Pools>) -> Result<Self, Problem> {
        refuse_other_sites(asked.headers)?;
        Ok(Self::with(asked, None, pools))
    }

    fn with(asked: Asked<'_>, token: Option<&Token>, pools: &Arc<Pools>) -> Self {
        let doer = Doer {
            by: token.map(|token| token.name().to_owned()),
            address: asked.peer.map(|Peer(address)| address),
            request: asked.request,
            uid: None,
        };
        let (audit, doer) = (asked.audit.clone(), Arc::new(doer));
        Self { token: token.cloned().map(Arc::new), pools: Arc::clone(pools), audit, doer }
    }

    /// The caller who asked, if it may do what needs `role`.
    pub(super) fn of(asked: Asked<'_>, role: Role, tokens: &Tokens, pools: &Arc<Pools>) -> Result<Self, Problem> {
        if tokens.is_empty() {
            return Self::anybody(asked, pools);
        }
        let headers = asked.headers;
        let sent = bearer(headers);
        let token = sent.as_ref().and_then(|secret| tokens.find(secret));
        let has_ended = token.is_some_and(|token| token.has_ended(asked.now));
        if sent.is_some() && (token.is_none() || has_ended) {
            asked.attempts.failed(asked.peer)?;
        }
        if has_ended {
            return Err(Problem::new(Code::Unauthenticated, "this token has ended: ask whoever gave it for a new one"));
        }
        let token = token.ok_or_else(|| {
            Problem::new(
                Code::Unauthenticated,
                "send the header Authorization: Bearer TOKEN, with a token of this server",
            )
        })?;
        asked.attempts.may_ask(token)?;
        if !token.has(role) {
            return Err(Problem::new(Code::Forbidden, format!("this needs a token with the role {}", role.as_str())));
        }
        Ok(Self::with(asked, Some(token), pools))
    }

    /// Writes into the audit what it has done.
    pub(super) fn did(&self, deed: &Deed) {
        self.audit.done(&self.doer, deed);
    }

    /// Writes into the audit what it is about to do, as an admin.
    ///
    /// # Errors
    /// The problem to answer with where that is required and cannot be.
    pub(super) async fn begin(&self, act: &'static str, pool: &Pool, key: Option<KeyId>) -> Result<Begun, Problem> {
        self.begin_deed(Deed { key, ..Deed::in_pool(act, pool) }).await
    }

    /// The same, where there is more to say than a pool and a key.
    pub(super) async fn begin_deed(&self, deed: Deed) -> Result<Begun, Problem> {
        Ok(self.audit.begin((*self.doer).clone(), deed).await?)
    }

    /// The name of its token; empty without one.
    pub(super) fn name(&self) -> &str {
        self.token.as_ref().map_or("", |token| token.name())
    }

    /// The pool of this name. A token that is bound to pools is not told whether there are others.
    pub(super) fn pool(&self, name: &str) -> Result<&Pool, Problem> {
        if !self.reaches(name) {
            return Err(Problem::new(Code::Forbidden, "this token is for other pools"));
        }
        self.pools().find(|pool| pool.policy().name.as_str() == name).ok_or_else(|| {
            let known = self.pools().map(|pool| pool.policy().name.to_string()).collect::<Vec<_>>();
            PoolError::UnknownPool { known: known.join(", ") }.into()
        })
    }

    /// What this instance counts and measures, of all pools.
    pub(super) fn metrics(&self) -> &Metrics {
        self.pools.metrics()
    }

    /// The pools that it may ask for.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.all().filter(|pool| self.reaches(pool.policy().name.as_str()))
    }

    fn reaches(&self, pool: &str) -> bool {
        self.token.as_ref().is_none_or(|token| token.reaches(pool))
    }
}

/// Refuses what a page of another site sends by its visitor's browser: where no token is needed, it would reach a server
/// that is there for this machine alone. What is no browser sends neither header.
fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Problem> {
    let of_other_site = |site: &HeaderValue| !matches!(site.as_bytes(), b"same-origin" | b"none");
    let site_is_other = headers.get("sec-fetch-site").is_some_and(of_other_site);
    let of_other_origin = |origin: &HeaderValue| {
        let host = headers.get(HOST).map(HeaderValue::as_bytes);
        let origin = origin.as_bytes().strip_prefix(b"http://").or(origin.as_bytes().strip_prefix(b"https://"));
        origin.is_none() || origin != host
    };
    if site_is_other || headers.get(ORIGIN).is_some_and(of_other_origin) {
        return Err(Problem::new(
            Code::Forbidden,
            "a page of another site sent this: set KEYLEND_TOKENS, and let the page send one",
        ));
    }
    Ok(())
}

/// The token that was sent; None where there is none, more than one, or something else.
pub(super) fn bearer(headers: &HeaderMap) -> Option<TokenSecret> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| TokenSecret::new(token))
}

/// The caller of a request that has passed the gate.
pub(super) fn caller() -> impl Filter<Extract = (Caller,), Error = Rejection> + Clone {
    warp::ext::get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_after_bearer() {
        let sent = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("valid"));
            }
            bearer(&headers).map(|secret| secret.expose().to_owned())
        };
        for one in ["Bearer klt_1", "bearer klt_1", "BEARER  klt_1 "] {
            assert_eq!(sent(&[one]).as_deref(), Some("klt_1"), "{one}");
        }
        for none in ["", "Bearer", "Bearer ", "klt_1", "Basic klt_1", "Bearerklt_1"] {
            assert_eq!(sent(&[none]), None, "{none}");
        }
        assert_eq!(sent(&[]), None);
        assert_eq!(sent(&["Bearer klt_1", "Bearer klt_1"]), None);
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let refused = |sent: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.insert(*name, HeaderValue::from_str(value).expect("valid"));
            }
            refuse_other_sites(&headers).is_err()
        };
        let host = ("host", "127.0.0.1:5000");
        assert!(!refused(&[]) && !refused(&[host]));
        for own in [("origin", "http://127.0.0.1:5000"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
        {
            assert!(!refused(&[host, own]), "{own:?}");
        }
        for other in [
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:5001"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(refused(&[host, other]), "{other:?}");
        }
    }
}
