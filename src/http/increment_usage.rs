//! `POST /v1/pools/{pool}/increment_usage`

use bytes::Bytes;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::body;
use super::caller::{Caller, caller};
use super::problem::Answer;
use super::reply;
use crate::audit::Deed;
use crate::wire::keys::IncrementedReply;

pub(super) fn route() -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "increment_usage")
        .and(warp::post())
        .and(caller())
        .and(body::read())
        .then(increment_usage)
        .map(Reply::into_response)
        .boxed()
}

async fn increment_usage(pool: String, caller: Caller, body: Bytes) -> Answer {
    let pool = caller.pool(&pool)?;
    let key = body::key_ref(&body)?;
    let counted = pool.increment_usage(&key).await?;
    caller.did(&Deed::to_key("increment_usage", pool, counted.id));
    Ok(reply::ok(&IncrementedReply {
        id: counted.id.to_string(),
        usage_count: counted.usage_count,
        last_used: counted.last_used,
    }))
}
