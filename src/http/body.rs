//! Bodies: JSON of bounded size. What is wrong with one is said by place, never by content: it can hold a secret.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use warp::http::HeaderMap;
use warp::http::header::CONTENT_TYPE;
use warp::{Filter, Rejection};

use super::problem::{Code, Problem};
use crate::domain::KeyRef;
use crate::wire::keys::KeyRefBody;

/// A JSON body of at most `limit` bytes, unread; empty where there is none.
pub(super) fn json(limit: usize) -> impl Filter<Extract = (Result<Bytes, Problem>,), Error = Rejection> + Clone {
    warp::header::headers_cloned().and(warp::body::stream()).then(move |headers, stream| read(headers, stream, limit))
}

async fn read(
    headers: HeaderMap,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limit: usize,
) -> Result<Bytes, Problem> {
    let body = collect(stream, limit).await?;
    if !body.is_empty() && media_type(&headers).is_some_and(|media_type| media_type != "application/json") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "this route takes JSON: send the header content-type: application/json",
        ));
    }
    Ok(body)
}

/// All of a body of at most `limit` bytes.
pub(super) async fn collect(
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limit: usize,
) -> Result<Bytes, Problem> {
    let mut stream = std::pin::pin!(stream);
    let mut body = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let mut piece = piece.map_err(|_| cut_short())?;
        if body.len() + piece.remaining() > limit {
            return Err(too_large(limit as u64));
        }
        let length = piece.remaining();
        body.extend_from_slice(&piece.copy_to_bytes(length));
    }
    Ok(body.freeze())
}

pub(super) fn too_large(limit: u64) -> Problem {
    Problem::new(Code::TooLarge, format!("the body is larger than {limit} bytes"))
}

pub(super) fn cut_short() -> Problem {
    Problem::invalid("the body ended too early")
}

/// The media type of a request, without its parameters, in lower case; None where none is given.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The body as the shape of a route; `expected` is that shape, for people.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], expected: &str) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let place = match (error.line(), error.column()) {
            (0, _) => String::new(),
            (line, column) => format!(" (line {line}, column {column})"),
        };
        Problem::invalid(format!("the body is not what this route takes{place}: send {expected}"))
    })
}

/// The key that a body names.
pub(super) fn key_ref(body: &[u8]) -> Result<KeyRef, Problem> {
    let body: KeyRefBody = parse(body, KeyRefBody::EXPECTED)?;
    body.key_ref().ok_or_else(|| {
        Problem::invalid(format!(
            "send {}: one of the two; an api_key is 1 to 4096 visible ASCII characters, an id 24 lower-case hexadecimal digits",
            KeyRefBody::EXPECTED
        ))
    })
}
