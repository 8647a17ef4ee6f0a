//! What the routes read requests with, for tests that give it any bytes. Nothing else uses it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use warp::http::HeaderMap;

use super::problem::Problem;
use super::{caller, find_usable_key, keys, leases, prefer};
use crate::domain::{KeyRef, TokenSecret};
use crate::store::Page;

/// What is answered instead, as JSON.
fn told(problem: Problem) -> String {
    problem.body()
}

/// A body as the shape of a route.
///
/// # Errors
/// The problem that is answered where it has another one.
pub fn body<T: DeserializeOwned>(body: &[u8], expected: &str) -> Result<T, String> {
    super::body::parse(body, expected).map_err(told)
}

/// The key that a body names.
///
/// # Errors
/// The problem that is answered where it names none.
pub fn key_ref(body: &[u8]) -> Result<KeyRef, String> {
    super::body::key_ref(body).map_err(told)
}

/// The Idempotency-Key of a request; None where it has none.
///
/// # Errors
/// The problem that is answered where it is none.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, String> {
    leases::idempotency_key(headers).map_err(told)
}

/// How long a request is willing to wait; None = not at all.
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    prefer::wait(headers)
}

/// The token of a request; None where it has none, or more than one.
pub fn bearer(headers: &HeaderMap) -> Option<TokenSecret> {
    caller::bearer(headers)
}

/// The part of the list of keys that a query asks for.
///
/// # Errors
/// The problem that is answered where it asks for none.
pub fn page(query: &str) -> Result<Page, String> {
    keys::page(query).map_err(told)
}

/// The `max_uses` of a query; None where it has none.
///
/// # Errors
/// The problem that is answered where it is none.
pub fn max_uses(query: &str) -> Result<Option<u32>, String> {
    find_usable_key::max_uses(query).map_err(told)
}
