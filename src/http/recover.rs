//! What no handler takes: the one place where warp's rejections become problems. What is not in the route table does
//! not come so far.

use std::convert::Infallible;

use warp::reject::{InvalidHeader, InvalidQuery, MissingHeader};
use warp::reply::Response;
use warp::{Rejection, Reply};

use super::problem::{Code, Problem};

pub(super) fn problem(rejection: &Rejection) -> Result<Response, Infallible> {
    let problem = if rejection.is_not_found() {
        Problem::not_found()
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
