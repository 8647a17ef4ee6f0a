//! Bodies: of bounded size, read in bounded time. What is wrong with one is said by place, never by content: it can hold a secret.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use warp::http::HeaderMap;
use warp::http::header::CONTENT_TYPE;
use warp::{Filter, Rejection};

use super::Limits;
use super::problem::{Code, Problem};
use crate::domain::KeyRef;
use crate::wire::keys::KeyRefBody;

/// A body that was read before.
pub(super) fn read() -> impl Filter<Extract = (Bytes,), Error = Rejection> + Clone {
    warp::body::bytes()
}

/// Whether these are the headers of a JSON body; one that does not say what it is may be one.
pub(super) fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers).as_deref() {
        None | Some("application/json") => Ok(()),
        Some(_) => Err(Problem::new(
            Code::UnsupportedMediaType,
            "this route takes JSON: send the header content-type: application/json",
        )),
    }
}

/// All of a body of bounded size and time.
pub(super) async fn collect<E>(
    stream: impl Stream<Item = Result<impl Buf, E>>,
    limits: &Limits,
) -> Result<Bytes, Problem> {
    let mut stream = std::pin::pin!(stream);
    let collect = async {
        let mut body = BytesMut::new();
        while let Some(mut piece) = next_piece(&mut stream, limits).await? {
            let length = piece.remaining();
            if body.len() + length > limits.body {
                return Err(too_large(limits.body as u64));
            }
            body.extend_from_slice(&piece.copy_to_bytes(length));
        }
        Ok(body.freeze())
    };
    timeout(limits.whole_body, collect).await.unwrap_or_else(|_| Err(late()))
}

/// The next piece of a body; None at its end.
pub(super) async fn next_piece<P, E>(
    stream: &mut (impl Stream<Item = Result<P, E>> + Unpin),
    limits: &Limits,
) -> Result<Option<P>, Problem> {
    let piece = timeout(limits.piece, stream.next()).await.map_err(|_| late())?;
    piece.transpose().map_err(|_| Problem::invalid("the body ended too early"))
}

fn late() -> Problem {
    Problem::new(Code::Timeout, "the body did not come in time; send it again")
}

pub(super) fn too_large(limit: u64) -> Problem {
    Problem::new(Code::TooLarge, format!("the body is larger than {limit} bytes"))
}

/// The media type of a request, without its parameters, in lower case; None where none is given.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The body as the shape of a route; `expected` is that shape, for people.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], expected: &str) -> Result<T, Problem> {
    let problem = |place| Problem::invalid(format!("the body is not what this route takes{place}: send {expected}"));
    // Read as a shape with names, a list would be taken by the order of its values.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(problem(String::new()));
    }
    serde_json::from_slice(body).map_err(|error| match (error.line(), error.column()) {
        (0, _) => problem(String::new()),
        (line, column) => problem(format!(" (line {line}, column {column})")),
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
