//! `POST /v1/pools/{pool}/generate`

use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::caller::{Caller, caller};
use super::problem::Answer;
use super::reply;
use crate::pool::Generated;
use crate::wire::provider::{AskedReply, GeneratedReply};

pub(super) fn route() -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "generate")
        .and(warp::post())
        .and(caller())
        .then(generate)
        .map(Reply::into_response)
        .boxed()
}

async fn generate(pool: String, caller: Caller) -> Answer {
    let pool = caller.pool(&pool)?;
    let begun = caller.begin("generate", pool, None).await?;
    let generated = pool.generate(caller.name()).await?;
    let key = match &generated {
        Generated::Added(added) => Some(added.key.value.key.id),
        Generated::Asked { .. } => None,
    };
    begun.done(key, "done");
    Ok(match generated {
        Generated::Added(added) => reply::json(StatusCode::CREATED, &GeneratedReply::new(pool.policy(), &added)),
        Generated::Asked { id, open } => reply::json(StatusCode::ACCEPTED, &AskedReply::new(pool.policy(), &id, open)),
    })
}
