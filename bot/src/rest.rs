//! Asking something of Discord: bounded in time, within its rate limits, and what was refused in words that help.

use std::sync::Arc;
use std::time::Duration;

use keylend::back_off::BackOff;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serenity::all::{ApplicationId, ChannelId, InteractionId};
use serenity::http::{Http, HttpBuilder, HttpError, LightMethod, Request, Route};
use thiserror::Error;
use tokio::time::{sleep, timeout};

use crate::body;

/// The longest wait for one answer of Discord.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// The longest that one request waits for rate limits and for its answer, where serenity does the waiting.
const WHOLE: Duration = Duration::from_secs(120);

/// How often one request waits when it is told to, where the bot does the waiting itself.
const OBEYED: u32 = 3;

/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 * 1024;

/// Why Discord did not do what it was asked for. No address and no token is in it.
#[derive(Debug, Error)]
pub(crate) enum RestError {
    /// It said no.
    #[error("Discord refused it with the status {status}: {message} (code {code})")]
    Refused { status: StatusCode, code: i64, message: String },
    /// It was asked too often.
    #[error("Discord's rate limit did not let it through")]
    RateLimited,
    /// It did not answer in time.
    #[error("Discord did not answer in time")]
    TimedOut,
    /// There was no way to it, or its answer was cut off.
    #[error("Discord cannot be reached")]
    Unreachable,
    /// It answered with something else than it should.
    #[error("Discord's answer cannot be understood")]
    Malformed,
}

impl RestError {
    /// Whether the token is none that Discord knows.
    pub(crate) fn is_token_refused(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::UNAUTHORIZED)
    }

    /// How long to wait before the same is asked again.
    pub(crate) fn pause(&self, back_off: &mut BackOff) -> Duration {
        match self {
            Self::RateLimited => LONGEST_WAIT,
            _ => back_off.next(),
        }
    }

    /// What an operator does about it; None = nothing but wait, or see what the error says.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        let Self::Refused { code, .. } = self else { return None };
        Some(match code {
            50001 => "the permission View Channels is missing: give it to the bot's role, in the channel too",
            50013 => {
                "the permission Send Messages is missing, or Embed Links: give them to the bot's role, in the channel too"
            }
            160_002 => "the permission Read Message History is missing: give it to the bot's role, in the channel too",
            10003 => "there is no such channel: see ALERT_CHANNEL_ID",
            _ => return None,
        })
    }
}

/// Discord's HTTP side.
pub(crate) struct Rest {
    http: Arc<Http>,
    /// Where something stands for Discord. serenity's rate limiter knows only the real one, so it is off then.
    direct: Option<Direct>,
}

struct Direct {
    client: Client,
    base: String,
}

/// serenity's way to Discord: with the limiter, or to what stands for Discord without.
fn http(token: &str, base: Option<&str>) -> reqwest::Result<Http> {
    let builder = HttpBuilder::new(token).client(client()?);
    Ok(match base {
        // With the limiter on, serenity would not go through the proxy, but to Discord, with the token.
        Some(base) => builder.proxy(base).ratelimiter_disabled(true).build(),
        None => builder.build(),
    })
}

fn client() -> reqwest::Result<Client> {
    // A redirect would tell somebody else what is for Discord. The gateway is not reached through a proxy of the
    // environment either.
    Client::builder().timeout(TIME_LIMIT).redirect(Policy::none()).no_proxy().build()
}

/// A member of Discord's answers to what it does not do.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    code: i64,
    message: String,
    retry_after: Option<f64>,
}

impl Rest {
    pub(crate) fn new(token: &str, base: Option<&str>) -> reqwest::Result<Self> {
        let direct = match base {
            Some(base) => Some(Direct { client: client()?, base: base.to_owned() }),
            None => None,
        };
        Ok(Self { http: Arc::new(http(token, base)?), direct })
    }

    /// Another of serenity's ways to the same Discord, for the gateway's client.
    pub(crate) fn another(&self) -> reqwest::Result<Http> {
        http(self.http.token(), self.direct.as_ref().map(|direct| direct.base.as_str()))
    }

    /// The gateway's address.
    pub(crate) async fn gateway(&self) -> Result<String, RestError> {
        let response = self.ask(LightMethod::Get, Route::Gateway, None).await?;
        let body = body::read(response, LARGEST).await.map_err(|_| RestError::Malformed)?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_| RestError::Malformed)?;
        let address = answer["url"].as_str().ok_or(RestError::Malformed)?;
        let is_safe = address.starts_with("wss://") || (self.direct.is_some() && address.starts_with("ws://"));
        let is_plain = is_safe && !address.contains(['?', '#', ' ']);
        if is_plain { Ok(address.to_owned()) } else { Err(RestError::Malformed) }
    }

    /// Sets the commands of an application.
    pub(crate) async fn set_commands(&self, application: ApplicationId, commands: &Value) -> Result<(), RestError> {
        let route = Route::Commands { application_id: application };
        self.ask(LightMethod::Put, route, Some(commands)).await.map(drop)
    }

    /// Sends a message to a channel.
    pub(crate) async fn send(&self, channel: ChannelId, message: &Value) -> Result<(), RestError> {
        let route = Route::ChannelMessages { channel_id: channel };
        self.ask(LightMethod::Post, route, Some(message)).await.map(drop)
    }

    /// Answers a command.
    pub(crate) async fn respond(&self, id: InteractionId, token: &str, response: &Value) -> Result<(), RestError> {
        let route = Route::InteractionResponse { interaction_id: id, token };
        self.ask(LightMethod::Post, route, Some(response)).await.map(drop)
    }

    /// Answers a command that was told to wait.
    pub(crate) async fn respond_late(
        &self,
        application: ApplicationId,
        token: &str,
        message: &Value,
    ) -> Result<(), RestError> {
        let route = Route::WebhookOriginalInteractionResponse { application_id: application, token };
        self.ask(LightMethod::Patch, route, Some(message)).await.map(drop)
    }

    async fn ask(&self, method: LightMethod, route: Route<'_>, body: Option<&Value>) -> Result<Response, RestError> {
        let request = Request::new(route, method).body(body.map(|body| body.to_string().into_bytes()));
        match &self.direct {
            Some(direct) => direct.ask(&request, self.http.token()).await,
            None => match timeout(WHOLE, self.http.request(request)).await {
                Ok(answered) => answered.map_err(|error| of_serenity(&error)),
                Err(_) => Err(RestError::RateLimited),
            },
        }
    }
}

impl Direct {
    async fn ask(&self, request: &Request<'_>, token: &str) -> Result<Response, RestError> {
        let mut obeyed = 0;
        loop {
            let built = request.clone().build(&self.client, token, Some(&self.base));
            let built = built.map_err(|_| RestError::Malformed)?;
            let response = built.send().await.map_err(|error| of_reqwest(&error))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let after: Option<f64> =
                response.headers().get("retry-after").and_then(|seconds| seconds.to_str().ok()?.parse().ok());
            let body = body::read(response, LARGEST).await.unwrap_or_default();
            let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
            if status != StatusCode::TOO_MANY_REQUESTS {
                return Err(refused(status, refusal.code, &refusal.message));
            }
            let wait = refusal.retry_after.or(after).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let wait = wait.unwrap_or(Duration::from_secs(1));
            if obeyed == OBEYED || wait > LONGEST_WAIT {
                tell_limited(wait, "it was told to wait too often or too long, and gives up");
                return Err(RestError::RateLimited);
            }
            obeyed += 1;
            tell_limited(wait, "it waits and tries again");
            sleep(wait).await;
        }
    }
}

/// One line for each time that Discord wants the bot to wait.
pub(crate) fn tell_limited(wait: Duration, what: &str) {
    tracing::warn!(event = "rate_limited", seconds = wait.as_secs_f64(), "Discord's rate limit: {what}");
}

fn refused(status: StatusCode, code: i64, message: &str) -> RestError {
    /// Enough of what Discord says to know what it means.
    const SAID: usize = 200;
    RestError::Refused { status, code, message: message.chars().take(SAID).collect() }
}

fn of_reqwest(error: &reqwest::Error) -> RestError {
    if error.is_timeout() { RestError::TimedOut } else { RestError::Unreachable }
}

fn of_serenity(error: &serenity::Error) -> RestError {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)) => {
            let code = i64::try_from(answer.error.code).unwrap_or_default();
            match answer.status_code {
                StatusCode::TOO_MANY_REQUESTS => RestError::RateLimited,
                status => refused(status, code, &answer.error.message),
            }
        }
        serenity::Error::Http(HttpError::Request(error)) => of_reqwest(error),
        _ => RestError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use hyper::http;
    use serenity::http::ErrorResponse;

    use super::*;

    #[test]
    fn what_discord_refuses_says_what_to_do() {
        for (code, advice) in [
            (50001, Some("View Channels")),
            (50013, Some("Send Messages")),
            (160_002, Some("Read Message History")),
            (10003, Some("ALERT_CHANNEL_ID")),
            (0, None),
        ] {
            let given = refused(StatusCode::FORBIDDEN, code, "no").advice();
            assert_eq!(given.is_some(), advice.is_some(), "{code}");
            assert!(given.unwrap_or_default().contains(advice.unwrap_or_default()), "{code}");
        }
        assert!(RestError::RateLimited.advice().is_none());
        assert_eq!(RestError::RateLimited.pause(&mut BackOff::new()), LONGEST_WAIT);
        assert!(RestError::TimedOut.pause(&mut BackOff::new()) < Duration::from_secs(1));
        assert!(refused(StatusCode::UNAUTHORIZED, 0, "no").is_token_refused());
        assert!(!refused(StatusCode::FORBIDDEN, 0, "no").is_token_refused());
        assert!(refused(StatusCode::FORBIDDEN, 0, &"x".repeat(10_000)).to_string().len() < 300);
    }

    #[tokio::test]
    async fn with_serenitys_limiter_failures_are_the_same() {
        let of = async |status: u16, body: &str| {
            let response = http::Response::builder().status(status).body(body.to_owned()).unwrap();
            let answer = ErrorResponse::from_response(response.into(), reqwest::Method::GET).await;
            of_serenity(&serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)))
        };
        let missing = of(403, "{\"message\": \"Missing Access\", \"code\": 50001}").await;
        let is_expected =
            matches!(&missing, RestError::Refused { code: 50001, message, .. } if message == "Missing Access");
        assert!(is_expected, "{missing:?}");
        assert!(of(401, "{\"message\": \"401: Unauthorized\", \"code\": 0}").await.is_token_refused());
        assert!(matches!(of(429, "").await, RestError::RateLimited));
        assert!(matches!(of(502, "<html>").await, RestError::Refused { .. }));
        assert!(matches!(of_serenity(&serenity::Error::Other("x")), RestError::Malformed));
    }
}
