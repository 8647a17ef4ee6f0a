//! Reading an answer's body, as much of it as there may be.

use reqwest::Response;

/// The body is larger than it may be, or the connection was lost in the middle of it.
#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    Lost,
}

/// The whole body, if it has no more than `limit` bytes. No more than that is ever held.
pub(crate) async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|_| BodyError::Lost)? {
        if body.len() + piece.len() > limit {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
