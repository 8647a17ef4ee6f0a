//! `keylend health`: asks the running server how it is, as a container's health check does that has no shell and no curl.

use std::error::Error as _;
use std::time::Duration;

use https_client::header::HOST;
use https_client::{Client, Error, Response, StatusCode, redirect};
use serde_json::Value;

use super::{Failure, output, reached};
use crate::config::Settings;

pub(super) const EXAMPLES: &str = "Examples:
  keylend health                              is the server of these settings ready?
  keylend health --listen 127.0.0.1:5000      is this one?
  HEALTHCHECK CMD [\"keylend\", \"health\"]       in a Dockerfile

Ends with 0 ready; 1 not ready, it says why; 2 it could not be asked; 64 the settings are faulty.";

/// A little longer than a server waits for its store (`KEYLEND_STORE_TIMEOUT`) where nobody says otherwise, so that it is
/// heard what the server itself makes of that.
const TIME_LIMIT: Duration = Duration::from_secs(6);

/// How much of an answer is read: why a server is not ready is a sentence.
const LONGEST_ANSWER: usize = 64 * 1024;

pub(super) async fn run(settings: &Settings) -> Result<(), Failure> {
    let url = format!("{}/readyz", reached::url(settings));
    let cannot = |error: Error| Failure::Failed(format!("{url} cannot be asked ({}): is it running?", cause(&error)));
    // A word is asked for that anybody may hear, and nothing is sent that anybody might want. So whichever certificate is
    // shown will do: it is made out to the name that callers use and not to this address, and one that was just renewed
    // is in the file before the server shows it.
    let client = Client::builder().danger_accept_invalid_certs(true).redirect(redirect::Policy::none()).no_proxy();
    let client = client.timeout(TIME_LIMIT).build().map_err(cannot)?;
    // By a name that is a server's own whatever KEYLEND_HOSTS says.
    let answer = client.get(&url).header(HOST, "localhost").send().await.map_err(cannot)?;
    if answer.status() == StatusCode::OK {
        return output::print("ready");
    }
    let status = answer.status().as_u16();
    let body = read(answer).await.map_err(cannot)?;
    match serde_json::from_slice::<Value>(&body).ok().as_ref().and_then(|problem| problem["detail"].as_str()) {
        Some(detail) if status == 503 => Err(Failure::NotReady(detail.to_owned())),
        _ => Err(Failure::Failed(format!("{url} answers {status}: that is no keylend, or something in front of it"))),
    }
}

/// The body, as far as it is of use.
async fn read(mut answer: Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await?
        && body.len() < LONGEST_ANSWER
    {
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What is at the bottom of an error: those above it repeat the address.
fn cause(error: &Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIME_LIMIT.as_secs());
    }
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|cause| cause.source()) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
