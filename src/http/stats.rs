//! `GET /v1/pools`, `GET /v1/stats`, `GET /v1/pools/{pool}/stats`

use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::health::get_or_head;
use super::problem::Answer;
use super::reply;
use crate::pool::{Pool, Pools};
use crate::wire::pools::{PolicyReply, PoolsReply};
use crate::wire::stats::{OnePoolReply, StatsReply};

pub(super) fn policies(pools: Pools) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools")
        .and(get_or_head())
        .map(move || reply::ok(&PoolsReply { pools: pools.all().map(Pool::policy).map(PolicyReply::from).collect() }))
        .map(Reply::into_response)
        .boxed()
}

pub(super) fn all(pools: Pools) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "stats")
        .and(get_or_head())
        .then(move || all_stats(pools.clone()))
        .map(Reply::into_response)
        .boxed()
}

async fn all_stats(pools: Pools) -> Answer {
    let mut all = Vec::new();
    for pool in pools.all() {
        all.push((pool.policy(), pool.stats().await?));
    }
    Ok(reply::ok(&StatsReply::new(all)))
}

pub(super) fn one(pools: Pools) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "stats")
        .and(get_or_head())
        .then(move |pool: String| pool_stats(pools.clone(), pool))
        .map(Reply::into_response)
        .boxed()
}

async fn pool_stats(pools: Pools, pool: String) -> Answer {
    let pool = pools.get(&pool)?;
    Ok(reply::ok(&OnePoolReply::new(pool.policy(), &pool.stats().await?)))
}
