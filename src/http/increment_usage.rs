//! `POST /v1/pools/{pool}/increment_usage`

use bytes::Bytes;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::problem::{Answer, Problem};
use super::reply;
use super::{Limits, body};
use crate::pool::Pools;
use crate::wire::keys::IncrementedReply;

pub(super) fn route(pools: Pools, limits: Limits) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "increment_usage")
        .and(warp::post())
        .and(body::json(limits.body))
        .then(move |pool: String, body| increment_usage(pools.clone(), pool, body))
        .map(Reply::into_response)
        .boxed()
}

async fn increment_usage(pools: Pools, pool: String, body: Result<Bytes, Problem>) -> Answer {
    let key = body::key_ref(&body?)?;
    let counted = pools.get(&pool)?.increment_usage(&key).await?;
    Ok(reply::ok(&IncrementedReply {
        id: counted.id.to_string(),
        usage_count: counted.usage_count,
        last_used: counted.last_used,
    }))
}
