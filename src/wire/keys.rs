//! Keys: how one is named, found, counted, looked up, and how many are added.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::state::state;
use crate::domain::{Key, KeyId, KeyRef, Policy, PoolName, Secret, State, Timestamp, UsageCount};
use crate::pool::import::{NotAdded, Summary};
use crate::store::{FoundKey, Seen};

/// A key, named by its secret or by its id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRefBody {
    api_key: Option<String>,
    id: Option<String>,
}

impl KeyRefBody {
    /// The body that is expected, for people.
    pub const EXPECTED: &'static str = r#"{"api_key": ".."} or {"id": ".."}"#;

    /// The key that is meant; None where neither or both are given, or one has not its shape.
    pub fn key_ref(&self) -> Option<KeyRef> {
        match (&self.api_key, &self.id) {
            (Some(secret), None) => Secret::parse(secret).ok().map(KeyRef::Secret),
            (None, Some(id)) => id.parse().ok().map(KeyRef::Id),
            _ => None,
        }
    }
}

/// The answer to `find_usable_key`.
#[derive(Serialize, ToSchema)]
pub struct FoundKeyReply<'a> {
    #[schema(value_type = PoolName)]
    pool: &'a str,
    #[schema(value_type = KeyId)]
    id: String,
    #[schema(value_type = Secret)]
    api_key: &'a str,
    usage_count: u64,
    last_used: Timestamp,
}

impl<'a> FoundKeyReply<'a> {
    /// Shows the secret: for the caller who is handed the key.
    pub fn new(pool: &'a Policy, found: &'a FoundKey) -> Self {
        Self {
            pool: pool.name.as_str(),
            id: found.id.to_string(),
            api_key: found.secret.expose(),
            usage_count: found.usage_count,
            last_used: found.last_used,
        }
    }
}

/// The answer to `increment_usage`.
#[derive(Serialize, ToSchema)]
pub struct IncrementedReply {
    /// The key.
    #[schema(value_type = KeyId)]
    pub id: String,
    /// The count afterwards.
    pub usage_count: UsageCount,
    /// The stamp of this count.
    pub last_used: Timestamp,
}

/// A key as it is shown: without its secret.
#[derive(Serialize, ToSchema)]
pub struct KeyReply {
    /// Its public id.
    #[schema(value_type = KeyId)]
    pub id: String,
    /// Its secret, masked; null where the stored one is no secret.
    #[schema(required)]
    pub masked: Option<String>,
    /// Uses counted.
    pub usage_count: UsageCount,
    /// When it was last handed out or counted; null = never.
    #[schema(required)]
    pub last_used: Option<Timestamp>,
    /// Its switch.
    pub is_active: bool,
    /// Its state.
    #[schema(value_type = State)]
    pub state: &'static str,
}

impl KeyReply {
    /// Shows `key` of `pool` as it is at the instant it was read.
    pub fn new(pool: &Policy, key: &Key, now: Timestamp) -> Self {
        Self {
            id: key.id.to_string(),
            masked: key.secret.as_ref().map(Secret::masked),
            usage_count: key.usage_count,
            last_used: key.last_used,
            is_active: key.is_active,
            state: state(key, pool.uses_per_key, now).as_str(),
        }
    }

    /// The same for a key that was read alone.
    pub fn of_one(pool: &Policy, seen: &Seen<Key>) -> Self {
        Self::new(pool, &seen.value, seen.now)
    }
}

/// Keys to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddKeysBody {
    /// Their secrets.
    pub api_keys: Vec<String>,
}

impl AddKeysBody {
    /// The body that is expected, for people.
    pub const EXPECTED: &'static str = r#"{"api_keys": ["..", ".."]}"#;
}

/// What became of keys to add. Never their text.
#[derive(Serialize, ToSchema)]
pub struct AddedReply {
    added: u64,
    known: u64,
    invalid: u64,
    lines: Vec<LineReply>,
    /// What an operator should know; not there where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

impl AddedReply {
    /// Said where older duplicates keep the store from keeping each key unique.
    pub const NOT_RACE_PROOF: &'static str = "the pool holds the same api_key more than once, so it has no unique \
        index: each key was looked for before it was added, but another program that adds the same key at the same \
        moment is not noticed; keylend check names the duplicates";
}

#[derive(Serialize, ToSchema)]
struct LineReply {
    line: u64,
    verdict: &'static str,
    #[schema(required)]
    reason: Option<String>,
}

impl From<Summary> for AddedReply {
    fn from(summary: Summary) -> Self {
        let lines = summary.lines.into_iter().map(|(line, verdict)| LineReply {
            line,
            verdict: verdict.as_str(),
            reason: match verdict {
                NotAdded::Known => None,
                NotAdded::Invalid(reason) => Some(reason.to_string()),
            },
        });
        Self {
            added: summary.added,
            known: summary.known,
            invalid: summary.invalid,
            lines: lines.collect(),
            warning: (!summary.race_proof).then_some(Self::NOT_RACE_PROOF),
        }
    }
}
