//! `GET /livez`, `GET /readyz`

use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::problem::Answer;
use super::reply;
use crate::pool::Pools;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// What can be read can be asked with either.
pub(super) fn get_or_head() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    warp::get().or(warp::head()).unify()
}

/// The process is up.
pub(super) fn livez() -> BoxedFilter<(Response,)> {
    warp::path!("livez").and(get_or_head()).map(|| reply::ok(&Health { status: "up" })).boxed()
}

/// The store answers: keys can be lent.
pub(super) fn readyz(pools: Pools) -> BoxedFilter<(Response,)> {
    warp::path!("readyz").and(get_or_head()).then(move || ready(pools.clone())).map(Reply::into_response).boxed()
}

async fn ready(pools: Pools) -> Answer {
    pools.check_ready().await?;
    Ok(reply::ok(&Health { status: "ready" }))
}
