//! Asking for the statistics: bounded in size and time, once for all who ask at that moment.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use keylend::domain::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::body::{self, BodyError};
use crate::snapshot::Snapshot;

/// The longest wait for an answer, its whole body in it.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The largest answer, in bytes: thousands of pools.
const LARGEST: usize = 1024 * 1024;

/// How long an answer is good for whoever asks next.
const FRESH: Duration = Duration::from_secs(1);

/// Why there are no statistics, and what to do about it. Addresses and answers are not repeated: they can hold anything.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum StatsError {
    #[error("the server cannot be reached; see whether it runs, and STATS_API")]
    Unreachable,
    #[error("the server did not answer within 10 s")]
    TimedOut,
    #[error("the answer ended too early")]
    Lost,
    #[error("the server wants a token with the role stats: set STATS_TOKEN")]
    Unauthenticated,
    #[error("the token of STATS_TOKEN may not see them: it needs the role stats, for all pools")]
    Forbidden,
    #[error("the server answered with the status {0}; see its log, and STATS_API")]
    Status(u16),
    #[error("the answer is larger than 1 MiB; see STATS_API")]
    TooLarge,
    #[error("the answer is not JSON; see STATS_API")]
    NotJson,
    #[error("the answer holds no statistics; see the server's log, and STATS_API")]
    NoStatistics,
}

/// Statistics, and when they were had.
#[derive(Debug)]
pub(crate) struct Had {
    pub(crate) snapshot: Snapshot,
    pub(crate) at: Timestamp,
}

pub(crate) type Outcome = Result<Arc<Had>, StatsError>;

/// Where the statistics are.
pub(crate) struct Stats {
    client: Client,
    address: String,
    token: Option<SecretString>,
    last: Mutex<Option<(Instant, Outcome)>>,
}

impl Stats {
    /// Those at `address`.
    ///
    /// # Errors
    /// Where the system offers no randomness or no roots of trust for TLS.
    pub(crate) fn new(address: &str, token: Option<SecretString>) -> reqwest::Result<Self> {
        // A redirect would carry the token to wherever it leads; a proxy of the environment is not on the way to a
        // server of one's own.
        let client = Client::builder().redirect(Policy::none()).no_proxy().build()?;
        Ok(Self { client, address: address.to_owned(), token, last: Mutex::new(None) })
    }

    /// The statistics as they are now, or were a moment ago.
    pub(crate) async fn now(&self) -> Outcome {
        // Who asks meanwhile waits here, and is answered with the same.
        let mut last = self.last.lock().await;
        if let Some((asked, outcome)) = &*last
            && asked.elapsed() < FRESH
        {
            return outcome.clone();
        }
        let outcome = timeout(TIME_LIMIT, self.ask()).await.unwrap_or(Err(StatsError::TimedOut));
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }

    async fn ask(&self) -> Outcome {
        let mut request = self.client.get(&self.address);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().await.map_err(|_| StatsError::Unreachable)?;
        match response.status() {
            // The older server answers its failures with 500 or 200, both with an `error` member.
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(StatsError::Unauthenticated),
            StatusCode::FORBIDDEN => return Err(StatsError::Forbidden),
            other => return Err(StatsError::Status(other.as_u16())),
        }
        let body = body::read(response, LARGEST).await.map_err(|error| match error {
            BodyError::TooLarge => StatsError::TooLarge,
            BodyError::Lost => StatsError::Lost,
        })?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_| StatsError::NotJson)?;
        let snapshot = Snapshot::understand(&answer).ok_or(StatsError::NoStatistics)?;
        Ok(Arc::new(Had { snapshot, at: now() }))
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
