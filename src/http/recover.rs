//! What no route takes: the one place where warp's rejections become problems.

use std::convert::Infallible;

use warp::reject::{InvalidHeader, InvalidQuery, MethodNotAllowed, MissingHeader};
use warp::reply::Response;
use warp::{Rejection, Reply};

use super::problem::{Code, Problem};

pub(super) fn problem(rejection: &Rejection) -> Result<Response, Infallible> {
    let problem = if rejection.is_not_found() {
        Problem::new(Code::NotFound, "there is nothing here; the routes are under /v1/pools and /v1/leases")
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        Problem::new(Code::MethodNotAllowed, "this path takes another method")
    } else if rejection.find::<InvalidQuery>().is_some() {
        Problem::invalid("the query cannot be read")
    } else if rejection.find::<InvalidHeader>().is_some() || rejection.find::<MissingHeader>().is_some() {
        Problem::invalid("a header is missing or cannot be read")
    } else {
        tracing::error!("a request was rejected for a reason that has no problem of its own");
        Problem::new(Code::Internal, "the request could not be handled; the log says why")
    };
    Ok(problem.into_response())
}
