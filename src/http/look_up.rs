//! `POST /v1/pools/{pool}/look_up`

use bytes::Bytes;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::problem::{Answer, Problem};
use super::reply;
use super::{Limits, body};
use crate::pool::Pools;
use crate::wire::keys::KeyReply;

pub(super) fn route(pools: Pools, limits: Limits) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "look_up")
        .and(warp::post())
        .and(body::json(limits.body))
        .then(move |pool: String, body| look_up(pools.clone(), pool, body))
        .map(Reply::into_response)
        .boxed()
}

async fn look_up(pools: Pools, pool: String, body: Result<Bytes, Problem>) -> Answer {
    let key = body::key_ref(&body?)?;
    let pool = pools.get(&pool)?;
    let seen = pool.look_up(&key).await?;
    Ok(reply::ok(&KeyReply::of_one(pool.policy(), &seen)))
}
