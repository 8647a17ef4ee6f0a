//! `POST /v1/pools/{pool}/keys`

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::problem::{Answer, Code, Problem};
use super::reply;
use super::{Limits, body};
use crate::pool::import::{Import, SECRETS};
use crate::pool::{Pool, Pools};
use crate::wire::keys::{AddKeysBody, AddedReply};

pub(super) fn add(pools: Pools, limits: Limits) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "keys")
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |pool: String, headers: HeaderMap, stream| add_keys(pools.clone(), limits, pool, headers, stream))
        .map(Reply::into_response)
        .boxed()
}

async fn add_keys(
    pools: Pools,
    limits: Limits,
    pool: String,
    headers: HeaderMap,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Answer {
    let pool = pools.get(&pool)?;
    let summary = match body::media_type(&headers).as_deref() {
        Some("application/json") | None => from_json(pool, stream, limits.body).await?,
        Some("text/plain") => from_text(pool, stream, limits.import).await?,
        Some(_) => {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "send content-type: application/json with {\"api_keys\": [..]}, or text/plain with one key per line",
            ));
        }
    };
    Ok(reply::ok(&summary))
}

async fn from_json(
    pool: &Pool,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limit: usize,
) -> Result<AddedReply, Problem> {
    let body: AddKeysBody = body::parse(&body::collect(stream, limit).await?, AddKeysBody::EXPECTED)?;
    let mut import = Import::new(pool, SECRETS);
    for api_key in &body.api_keys {
        import.push_secret(api_key).await?;
    }
    Ok(import.finish().await?.into())
}

/// Reads and adds piece by piece, so that a long list needs little memory.
async fn from_text(
    pool: &Pool,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limit: u64,
) -> Result<AddedReply, Problem> {
    let mut stream = std::pin::pin!(stream);
    let mut import = Import::new(pool, SECRETS);
    let mut read = 0;
    while let Some(piece) = stream.next().await {
        let mut piece = piece.map_err(|_| body::cut_short())?;
        let length = piece.remaining();
        read += length as u64;
        if read > limit {
            return Err(body::too_large(limit).after_adding_some());
        }
        import.push(&piece.copy_to_bytes(length)).await?;
    }
    Ok(import.finish().await?.into())
}
