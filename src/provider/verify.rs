//! Asking a provider whether a key is alive.

use std::error::Error as _;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use https_client::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use https_client::{Client, Response, StatusCode, redirect};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::timeout;

use crate::domain::provider::API_KEY;
use crate::domain::{Secret, Verdict, Verify};

/// How much of an answer is read: a balance is a few bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Why a provider said nothing of a key. Nothing changes for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsaid {
    /// The pool does not say how to ask it.
    NotAsked,
    /// It could not be reached; the words say how that failed.
    Unreachable(String),
    /// It did not answer in this time.
    TimedOut(Duration),
    /// It sent the caller elsewhere, where the key is not sent.
    Redirected,
    /// Its answer is longer than any balance.
    TooLong,
    /// Its answer is no JSON: a page, perhaps, of something in between.
    NoJson,
    /// Its answer has this status, which tells nothing of the key.
    Status(u16),
    /// The key does not fit into a header.
    NoHeader,
}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("the pool has no verify.url, so the provider was not asked"),
            Self::Unreachable(how) => write!(f, "the provider cannot be reached ({how})"),
            Self::TimedOut(limit) => write!(f, "the provider did not answer within {} s", limit.as_secs()),
            Self::Redirected => f.write_str(
                "the provider's address leads elsewhere, and the key is not sent there: set the pool's verify.url",
            ),
            Self::TooLong => write!(f, "the provider answered more than {LONGEST_ANSWER} bytes"),
            Self::NoJson => f.write_str("the provider answered 200 with something that is no JSON: see to verify.url"),
            Self::Status(status) => write!(f, "the provider answered {status}, which tells nothing of the key"),
            Self::NoHeader => f.write_str("the key does not fit into the header of verify.header"),
        }
    }
}

/// One for all pools, as it is made once: it keeps connections.
static CLIENT: LazyLock<Result<Client, String>> = LazyLock::new(|| {
    Client::builder()
        // A key is sent to the address that was configured and to no other.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("keylend/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(4)
        .build()
        .map_err(|error| root_cause(&error))
});

/// Asks the provider about this key.
///
/// # Errors
/// [`Unsaid`] where its answer says nothing of the key.
pub async fn ask(verify: &Verify, secret: &Secret) -> Result<Verdict, Unsaid> {
    timeout(verify.timeout, answer(verify, secret)).await.unwrap_or(Err(Unsaid::TimedOut(verify.timeout)))
}

async fn answer(verify: &Verify, secret: &Secret) -> Result<Verdict, Unsaid> {
    let client = CLIENT.as_ref().map_err(|error| Unsaid::Unreachable(error.clone()))?;
    let value = verify.template.replacen(API_KEY, secret.expose(), 1);
    let mut value = HeaderValue::try_from(value).map_err(|_| Unsaid::NoHeader)?;
    value.set_sensitive(true);
    let asked = client.get(&verify.url).header(verify.header.as_str(), value).header("Accept", "application/json");
    let answer = asked.send().await.map_err(|error| unreachable(&error))?;
    match answer.status() {
        StatusCode::OK => Ok(Verdict::Alive { credits: credits(&read(answer).await?, &verify.credits)? }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Verdict::Rejected),
        StatusCode::PAYMENT_REQUIRED => Ok(Verdict::Exhausted),
        StatusCode::TOO_MANY_REQUESTS => {
            Ok(Verdict::RateLimited { retry_after: retry_after(answer.headers(), OffsetDateTime::now_utc()) })
        }
        status if status.is_redirection() => Err(Unsaid::Redirected),
        status => Err(Unsaid::Status(status.as_u16())),
    }
}

/// The body, as far as a balance goes.
async fn read(mut answer: Response) -> Result<Vec<u8>, Unsaid> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + piece.len() > LONGEST_ANSWER {
            return Err(Unsaid::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The credits that a JSON answer names; None where it names none.
pub fn credits(body: &[u8], member: &str) -> Result<Option<f64>, Unsaid> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| Unsaid::NoJson)?;
    Ok(answer.get(member).and_then(Value::as_f64).filter(|credits| credits.is_finite()))
}

/// `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let until = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Duration::try_from(until - now).ok()
}

fn unreachable(error: &https_client::Error) -> Unsaid {
    Unsaid::Unreachable(root_cause(error))
}

/// What is at the bottom of an error: those above it repeat the address.
fn root_cause(error: &https_client::Error) -> String {
    let Some(mut cause) = error.source() else { return "the request failed".to_owned() };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_a_number_in_a_json_object() {
        for (body, expected) in [
            (r#"{"credits": 7.5}"#, Ok(Some(7.5))),
            (r#"{"credits": 0, "other": 1}"#, Ok(Some(0.0))),
            (r#"{"credits": "7"}"#, Ok(None)),
            ("{}", Ok(None)),
            ("[]", Ok(None)),
            ("<html>", Err(Unsaid::NoJson)),
            ("", Err(Unsaid::NoJson)),
        ] {
            assert_eq!(credits(body.as_bytes(), "credits"), expected, "{body}");
        }
    }

    #[test]
    fn a_hint_is_a_number_of_seconds_or_a_date() {
        let now = OffsetDateTime::from_unix_timestamp(784_111_777).expect("in range");
        let hint = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).expect("valid"))]);
            retry_after(&headers, now).map(|hint| hint.as_secs())
        };
        assert_eq!((hint("60"), hint(" 7 ")), (Some(60), Some(7)));
        assert_eq!(hint("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        for none in ["Sun, 06 Nov 1994 08:48:37 GMT", "-1", "soon", "1.5", ""] {
            assert_eq!(hint(none), None, "{none}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
