//! What stands around a body: the query, and the headers that mean something.

use std::time::Duration;

use keylend::domain::IdempotencyDigest;
use keylend::http::parsers;
use warp::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::{assert_untold, pool, written_out};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// A header or a query that is taken is within its limits and says the same again; what is told of another one does
/// not hold it. Two headers where one is meant are never taken for one of them.
pub fn request_head(input: &[u8]) {
    let text = written_out(input);
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        idempotency_key(&value);
        prefer(&value);
        bearer(&value);
    }
    if let Ok(query) = std::str::from_utf8(&text) {
        list(query);
        max_uses(query);
    }
}

fn once(name: HeaderName, value: &HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(name, value.clone())])
}

fn twice(name: HeaderName, value: &HeaderValue) -> HeaderMap {
    let mut headers = once(name.clone(), value);
    headers.append(name, value.clone());
    headers
}

fn idempotency_key(value: &HeaderValue) {
    match parsers::idempotency_key(&once(IDEMPOTENCY_KEY, value)) {
        Ok(key) => {
            let key = key.expect("one was sent");
            assert_eq!(key.as_bytes(), value.as_bytes());
            assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()), "{key:?}");
            let digest = IdempotencyDigest::new("web", &pool("stability"), &key);
            assert!(digest.as_str().len() == 64 && digest.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        Err(told) => assert_untold(&told),
    }
    assert_untold(&parsers::idempotency_key(&twice(IDEMPOTENCY_KEY, value)).expect_err("two are none"));
}

fn prefer(value: &HeaderValue) {
    let Some(wait) = parsers::wait(&once(PREFER, value)) else { return };
    assert!((Duration::from_secs(1)..=Duration::from_secs(60)).contains(&wait) && wait.subsec_nanos() == 0);
    let written = HeaderValue::try_from(format!("wait={}", wait.as_secs())).expect("a header");
    assert_eq!(parsers::wait(&once(PREFER, &written)), Some(wait));
}

fn bearer(value: &HeaderValue) {
    assert!(parsers::bearer(&twice(AUTHORIZATION, value)).is_none());
    let Some(token) = parsers::bearer(&once(AUTHORIZATION, value)) else { return };
    let text = token.expose();
    assert!(!text.is_empty() && text.trim_matches(' ') == text, "{text:?}");
    assert_eq!(format!("{token:?}"), "TokenSecret(..)");
    let written = HeaderValue::try_from(format!("Bearer {text}")).expect("a header");
    let again = parsers::bearer(&once(AUTHORIZATION, &written)).expect("what was written is read");
    assert_eq!(again.expose(), text);
}

fn list(query: &str) {
    let page = match parsers::page(query) {
        Ok(page) => page,
        Err(told) => return assert_untold(&told),
    };
    assert!((1..=1000).contains(&page.limit), "{}", page.limit);
    let mut written = format!("limit={}", page.limit);
    if let Some(state) = page.state {
        written += &format!("&state={}", state.as_str());
    }
    if let Some(after) = page.after {
        written += &format!("&cursor={after}");
    }
    let again = parsers::page(&written).expect("what was written is read");
    assert_eq!((again.limit, again.state, again.after), (page.limit, page.state, page.after));
}

fn max_uses(query: &str) {
    match parsers::max_uses(query) {
        Ok(Some(most)) => {
            assert!(most <= 10_000, "{most}");
            assert_eq!(parsers::max_uses(&format!("max_uses={most}")), Ok(Some(most)));
        }
        Ok(None) => {}
        Err(told) => assert_untold(&told),
    }
}
