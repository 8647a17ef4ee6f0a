//! `POST /v1/pools/{pool}/look_up`

use bytes::Bytes;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::body;
use super::caller::{Caller, caller};
use super::problem::Answer;
use super::reply;
use crate::wire::keys::KeyReply;

pub(super) fn route() -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "look_up")
        .and(warp::post())
        .and(caller())
        .and(body::read())
        .then(look_up)
        .map(Reply::into_response)
        .boxed()
}

async fn look_up(pool: String, caller: Caller, body: Bytes) -> Answer {
    let pool = caller.pool(&pool)?;
    let key = body::key_ref(&body)?;
    let seen = pool.look_up(&key).await?;
    Ok(reply::ok(&KeyReply::of_one(pool.policy(), &seen)))
}
