//! `POST /v1/pools/{pool}/find_usable_key?max_uses=3`

use serde::Deserialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::caller::{Caller, caller};
use super::problem::{Answer, Problem};
use super::query;
use super::reply;
use crate::audit::Deed;
use crate::wire::keys::FoundKeyReply;

/// The largest `max_uses`: the largest number of uses that a pool can give.
const MAX_USES: u32 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FindQuery {
    max_uses: Option<u32>,
}

pub(super) fn route() -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "find_usable_key")
        .and(warp::post())
        .and(caller())
        .and(query::raw())
        .then(find_usable_key)
        .map(Reply::into_response)
        .boxed()
}

/// The `max_uses` of a query; None where it has none.
pub(super) fn max_uses(query: &str) -> Result<Option<u32>, Problem> {
    let expected = format!("max_uses is a whole number from 0 to {MAX_USES}");
    let query: FindQuery = query::parse(query, &expected)?;
    if query.max_uses.is_some_and(|max_uses| max_uses > MAX_USES) {
        return Err(Problem::invalid(expected));
    }
    Ok(query.max_uses)
}

async fn find_usable_key(pool: String, caller: Caller, query: String) -> Answer {
    let pool = caller.pool(&pool)?;
    let max_uses = max_uses(&query)?;
    let found = pool.find_usable_key(max_uses).await?;
    caller.did(&Deed::to_key("find_usable_key", pool, found.id));
    Ok(reply::ok(&FoundKeyReply::new(pool.policy(), &found)))
}
