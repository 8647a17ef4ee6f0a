//! `GET /api/plantid`, `GET /api/healthid`, `GET /api/stats`: the older Flask server's routes, which always answer 200.

use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::caller::{Caller, caller};
use super::health::get_or_head;
use super::problem::Answer;
use super::reply;
use crate::audit::Deed;
use crate::domain::{Key, PoolStats};
use crate::pool::{Pool, PoolError};
use crate::wire::flask::{FilePool, FlaskAnswerReply, FlaskStatsReply, NoStatsReply, TakenReply};

const PLANTID: &str = "plantid";
const HEALTHID: &str = "healthid";

pub(super) fn routes() -> BoxedFilter<(Response,)> {
    let plantid = warp::path!("api" / "plantid").and(warp::get()).and(caller()).then(|caller| take(PLANTID, caller));
    let healthid = warp::path!("api" / "healthid").and(warp::get()).and(caller()).then(|caller| take(HEALTHID, caller));
    // To ask what an answer would look like takes no key.
    let either = warp::path!("api" / "plantid").or(warp::path!("api" / "healthid")).unify();
    let head = either.and(warp::head()).map(|| Ok(reply::ok(&TakenReply::EMPTY)));
    let stats = warp::path!("api" / "stats").and(get_or_head()).and(caller()).then(stats);
    plantid.or(healthid).unify().or(head).unify().or(stats).unify().map(Reply::into_response).boxed()
}

async fn take(name: &'static str, caller: Caller) -> Answer {
    let pool = caller.pool(name)?;
    let taken = pool.take().await;
    Ok(match &taken {
        Ok(taken) => {
            caller.did(&Deed::to_key("take", pool, taken.id));
            reply::ok(&TakenReply::of(taken.secret.expose()))
        }
        Err(PoolError::NoUsableKey { .. }) => reply::ok(&TakenReply::EMPTY),
        Err(error) => {
            tracing::debug!(pool = name, error = error.chain(), "no key was taken");
            reply::ok(&TakenReply::FAILED)
        }
    })
}

async fn stats(caller: Caller) -> Answer {
    let (plantid, healthid) = (caller.pool(PLANTID)?, caller.pool(HEALTHID)?);
    Ok(match gather(&caller, plantid, healthid).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(error = error.chain(), "the statistics could not be gathered");
            reply::ok(&FlaskAnswerReply::Failed(NoStatsReply::FAILED))
        }
    })
}

async fn gather(caller: &Caller, plantid: &Pool, healthid: &Pool) -> Result<Response, PoolError> {
    let (first, second) = (look(plantid).await?, look(healthid).await?);
    let mut all = Vec::new();
    for pool in caller.pools() {
        all.push((pool.policy(), pool.stats().await?));
    }
    let file = |pool, (stats, next)| FilePool { policy: Pool::policy(pool), stats, next };
    let plantid = file(plantid, (&first.0, first.1.as_ref()));
    let healthid = file(healthid, (&second.0, second.1.as_ref()));
    Ok(reply::ok(&FlaskAnswerReply::Stats(FlaskStatsReply::new(&plantid, &healthid, all))))
}

/// The pool as it is, and the key that goes first.
async fn look(pool: &Pool) -> Result<(PoolStats, Option<Key>), PoolError> {
    Ok((pool.stats().await?, pool.peek_usable_key(None).await?.map(|seen| seen.value)))
}
