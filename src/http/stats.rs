//! `GET /v1/pools`, `GET /v1/stats`, `GET /v1/pools/{pool}/stats`

use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::caller::{Caller, caller};
use super::health::get_or_head;
use super::problem::Answer;
use super::reply;
use crate::pool::Pool;
use crate::wire::pools::{PolicyReply, PoolsReply};
use crate::wire::stats::{OnePoolReply, StatsReply};

pub(super) fn routes() -> BoxedFilter<(Response,)> {
    let policies = warp::path!("v1" / "pools").and(get_or_head()).and(caller()).map(policies);
    let all = warp::path!("v1" / "stats").and(get_or_head()).and(caller()).then(all_stats).map(Reply::into_response);
    let one = warp::path!("v1" / "pools" / String / "stats").and(get_or_head()).and(caller()).then(pool_stats);
    policies.or(all).unify().or(one.map(Reply::into_response)).unify().boxed()
}

fn policies(caller: Caller) -> Response {
    reply::ok(&PoolsReply { pools: caller.pools().map(Pool::policy).map(PolicyReply::from).collect() })
}

async fn all_stats(caller: Caller) -> Answer {
    let mut all = Vec::new();
    for pool in caller.pools() {
        all.push((pool.policy(), pool.stats().await?));
    }
    Ok(reply::ok(&StatsReply::new(all)))
}

async fn pool_stats(pool: String, caller: Caller) -> Answer {
    let pool = caller.pool(&pool)?;
    Ok(reply::ok(&OnePoolReply::new(pool.policy(), &pool.stats().await?)))
}
