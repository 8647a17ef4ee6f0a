//! `GET /livez`, `GET /readyz`

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::problem::{Answer, Problem};
use super::reply;
use crate::pool::Pools;

/// How it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: &'static str,
}

/// What can be read can be asked with either.
pub(super) fn get_or_head() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    warp::get().or(warp::head()).unify()
}

pub(super) fn routes(pools: Pools, stopping: CancellationToken) -> BoxedFilter<(Response,)> {
    let livez = warp::path!("livez").and(get_or_head()).map(|| reply::ok(&Health { status: "up" }));
    let readyz = warp::path!("readyz").and(get_or_head()).then(move || ready(pools.clone(), stopping.clone()));
    livez.or(readyz.map(Reply::into_response)).unify().boxed()
}

/// Whether the store answers, and this instance goes on: keys can be lent.
async fn ready(pools: Pools, stopping: CancellationToken) -> Answer {
    if stopping.is_cancelled() {
        return Err(Problem::stopping());
    }
    pools.check_ready().await?;
    Ok(reply::ok(&Health { status: "ready" }))
}
