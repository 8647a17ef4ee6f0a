//! `POST /v1/pools/{pool}/increment_usage`

use bytes::Bytes;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::problem::{Answer, Code, Problem};
use super::reply;
use super::{Limits, body};
use crate::pool::Pools;
use crate::store::Incremented;
use crate::wire::keys::{IncrementedReply, KeyRefBody};

pub(super) fn route(pools: Pools, limits: Limits) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "increment_usage")
        .and(warp::post())
        .and(body::json(limits.body))
        .then(move |pool: String, body| increment_usage(pools.clone(), pool, body))
        .map(Reply::into_response)
        .boxed()
}

async fn increment_usage(pools: Pools, pool: String, body: Result<Bytes, Problem>) -> Answer {
    let key = key_ref(&body?)?;
    match pools.get(&pool)?.increment_usage(&key).await? {
        Incremented::Counted { id, usage_count, last_used } => {
            Ok(reply::ok(&IncrementedReply { id: id.to_string(), usage_count, last_used }))
        }
        Incremented::UnknownKey | Incremented::InvalidKey => {
            Err(Problem::new(Code::Internal, "the pool answered what it never answers"))
        }
    }
}

/// The key that a body names.
pub(super) fn key_ref(body: &[u8]) -> Result<crate::domain::KeyRef, Problem> {
    let body: KeyRefBody = body::parse(body, KeyRefBody::EXPECTED)?;
    body.key_ref().ok_or_else(|| {
        Problem::invalid(format!(
            "send {}: one of the two; an api_key is 1 to 4096 visible ASCII characters, an id 24 lower-case hexadecimal digits",
            KeyRefBody::EXPECTED
        ))
    })
}
