//! `GET /metrics`

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::caller::{Caller, caller};
use super::health::get_or_head;
use super::reply;
use crate::pool::measure_all;

/// The format, as Prometheus names it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn route() -> BoxedFilter<(Response,)> {
    warp::path!("metrics").and(get_or_head()).and(caller()).then(metrics).boxed()
}

/// Whatever becomes of the store: what this instance saw can be told without it.
async fn metrics(caller: Caller) -> Response {
    measure_all(caller.pools()).await;
    let may_be_shown = |pool: &str| caller.pools().any(|own| own.policy().name.as_str() == pool);
    reply::response(StatusCode::OK, TEXT_FORMAT, caller.metrics().text(may_be_shown).into_bytes())
}
