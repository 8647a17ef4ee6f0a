//! Queries: read by hand of serde, so that what is wrong with one is a problem of its route.

use serde::de::DeserializeOwned;
use std::convert::Infallible;

use warp::Filter;

use super::problem::Problem;

/// The query as it was sent; empty where there is none.
pub(super) fn raw() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

/// The query as the shape of a route; `expected` is that shape, for people.
pub(super) fn parse<T: DeserializeOwned>(query: &str, expected: &str) -> Result<T, Problem> {
    serde_urlencoded::from_str(query)
        .map_err(|_| Problem::invalid(format!("the query is not what this route takes: {expected}")))
}
