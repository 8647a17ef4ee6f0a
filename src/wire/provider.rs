//! What was asked of those who give keys: of a provider whether one is alive, of a command or a person for a new one.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::state::state;
use crate::domain::{KeyId, KeyRequest, Policy, PoolName, RequestId, Secret, State, Timestamp, Verdict, Verified};
use crate::pool::Verification;

/// What a provider said of a key, and the key afterwards.
#[derive(Serialize, ToSchema)]
pub struct VerificationReply {
    #[schema(value_type = KeyId)]
    id: String,
    #[schema(required)]
    masked: Option<String>,
    /// `alive`, `rejected`, `exhausted`, `rate_limited`; `unknown` where the provider said nothing of it.
    verdict: &'static str,
    /// The credits that it named.
    #[schema(required)]
    credits: Option<f64>,
    /// Why nothing is known.
    #[schema(required)]
    reason: Option<String>,
    #[schema(value_type = State)]
    state: &'static str,
}

impl VerificationReply {
    /// Of a key of this pool.
    pub fn new(pool: &Policy, verification: &Verification) -> Self {
        let key = &verification.key.value.key;
        let verdict = &verification.verdict;
        Self {
            id: key.id.to_string(),
            masked: key.secret.as_ref().map(Secret::masked),
            verdict: verdict.as_ref().map_or("unknown", |verdict| Verdict::as_str(*verdict)),
            credits: verdict.as_ref().ok().and_then(|verdict| verdict.credits()),
            reason: verdict.as_ref().err().map(ToString::to_string),
            state: state(key, pool.uses_per_key, verification.key.now).as_str(),
        }
    }

    /// The word for what was said.
    pub fn verdict(&self) -> &'static str {
        self.verdict
    }

    /// The state afterwards.
    pub fn state(&self) -> &'static str {
        self.state
    }

    /// Why nothing is known.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// As a row: id, key, verdict, credits, state.
    pub fn row(&self) -> Vec<String> {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let credits = or_dash(self.credits.map(|credits| credits.to_string()));
        vec![self.id.clone(), or_dash(self.masked.clone()), self.verdict.to_owned(), credits, self.state.to_owned()]
    }
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub struct GeneratedReply {
    #[schema(value_type = PoolName)]
    pool: String,
    /// `added`
    outcome: &'static str,
    #[serde(flatten)]
    key: VerificationReply,
}

impl GeneratedReply {
    /// The key of this pool.
    pub fn new(pool: &Policy, added: &Verification) -> Self {
        Self { pool: pool.name.to_string(), outcome: "added", key: VerificationReply::new(pool, added) }
    }
}

/// A person was asked for a key.
#[derive(Serialize, ToSchema)]
pub struct AskedReply {
    #[schema(value_type = PoolName)]
    pool: String,
    /// `asked`
    outcome: &'static str,
    request_id: String,
    /// How many are open now.
    key_requests: u64,
}

impl AskedReply {
    /// The request, one of so many that are open.
    pub fn new(pool: &Policy, id: &RequestId, open: u64) -> Self {
        Self { pool: pool.name.to_string(), outcome: "asked", request_id: id.to_string(), key_requests: open }
    }
}

/// A request for a key that is open.
#[derive(Serialize)]
pub struct KeyRequestReply<'a> {
    pool: &'a str,
    request_id: &'a str,
    by: &'a str,
    asked_at: Timestamp,
}

impl<'a> KeyRequestReply<'a> {
    /// Of this pool.
    pub fn new(pool: &'a Policy, request: &'a KeyRequest) -> Self {
        Self { pool: pool.name.as_str(), request_id: request.id.as_str(), by: &request.by, asked_at: request.asked_at }
    }
}

/// What a provider said of a key last.
#[derive(Serialize, ToSchema)]
pub struct VerifiedReply {
    at: Timestamp,
    verdict: &'static str,
    #[schema(required)]
    credits: Option<f64>,
}

impl From<Verified> for VerifiedReply {
    fn from(Verified { at, verdict, credits }: Verified) -> Self {
        Self { at, verdict, credits }
    }
}
