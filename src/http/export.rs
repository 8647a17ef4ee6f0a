//! `GET /v1/pools/{pool}/export`

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tracing::Instrument;
use warp::Reply;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::problem::Answer;
use crate::pool::Pool;
use crate::pool::export::Export;
use crate::wire::export;

/// The media type of one JSON object a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// The store went away in the middle: the connection is cut, so that nobody takes what came for the whole pool.
#[derive(Debug, thiserror::Error)]
#[error("the export is not whole")]
struct CutShort;

/// All keys of the pool with their secrets, one a line, read from the store as fast as the caller takes them.
pub(super) async fn export(pool: &Pool) -> Answer {
    let mut export = Export::new(pool);
    // Read before the answer begins: a store that is away is a problem, not half an export.
    let mut part = export.next().await?;
    let name = pool.policy().name.clone();
    let (parts, sent) = mpsc::channel::<Result<Bytes, CutShort>>(1);
    let send = async move {
        while let Some(read) = part {
            // A caller who has left needs no more of it.
            if parts.send(Ok(Bytes::from(export::lines(&name, &read)))).await.is_err() {
                return;
            }
            part = match export.next().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(pool = %name, error = error.chain(), "an export was cut short");
                    let _ = parts.send(Err(CutShort)).await;
                    return;
                }
            };
        }
    };
    tokio::spawn(send.in_current_span());
    let parts = stream::unfold(sent, |mut sent| async move { Some((sent.recv().await?, sent)) });
    let mut response = warp::reply::stream(parts).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
