//! `POST /v1/pools/{pool}/keys/{id}/verify`

use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::caller::{Caller, caller};
use super::keys::key_id;
use super::problem::Answer;
use super::reply;
use crate::wire::provider::VerificationReply;

pub(super) fn route() -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "keys" / String / "verify")
        .and(warp::post())
        .and(caller())
        .then(verify)
        .map(Reply::into_response)
        .boxed()
}

async fn verify(pool: String, id: String, caller: Caller) -> Answer {
    let pool = caller.pool(&pool)?;
    let id = key_id(&id)?;
    let begun = caller.begin("verify", pool, Some(id)).await?;
    let verification = pool.verify(id).await?;
    begun.done(None, "done");
    Ok(reply::ok(&VerificationReply::new(pool.policy(), &verification)))
}
