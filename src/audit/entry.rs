//! A line of the audit: who did what to which key, when. Never with a secret, and without the random part of a lease's id.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::domain::{KeyId, LeaseId, Timestamp};
use crate::pool::Pool;

/// Who does something.
#[derive(Clone, Debug, Default)]
pub struct Doer {
    /// The name of its token, or `the command line`; None where callers need no token.
    pub by: Option<String>,
    /// Where a request came from; None where it came by no connection.
    pub address: Option<IpAddr>,
    /// The id of the request.
    pub request: Option<String>,
    /// The user of this machine, by number, where it was typed.
    pub uid: Option<u32>,
}

/// What is done, and to what.
#[derive(Clone, Debug, Default)]
pub struct Deed {
    /// `lease`, `take`, `find_usable_key`, `increment_usage`, `report`, `renew`; or an admin act such as `change`.
    pub act: &'static str,
    /// The pool; None = all of the store.
    pub pool: Option<String>,
    /// The key; None = not of one key, or not known yet.
    pub key: Option<KeyId>,
    /// The part of the lease's id that may be told.
    pub lease: Option<String>,
    /// More of it in a word: the outcome of a report, the fields of a change.
    pub what: Option<String>,
}

impl Deed {
    /// Something done in a pool.
    pub fn in_pool(act: &'static str, pool: &Pool) -> Self {
        Self { act, pool: Some(pool.policy().name.to_string()), ..Self::default() }
    }

    /// Something done to a key.
    pub fn to_key(act: &'static str, pool: &Pool, key: KeyId) -> Self {
        Self { key: Some(key), ..Self::in_pool(act, pool) }
    }

    /// Something done with a lease.
    pub fn with_lease(act: &'static str, lease: &LeaseId) -> Self {
        let (pool, key) = (Some(lease.pool.to_string()), Some(lease.key));
        Self { act, pool, key, lease: Some(lease.loggable()), what: None }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An admin act is about to be done: written before it is.
    Begun,
    /// It is done.
    Done,
    /// An admin act ended with an error, or whoever asked for it left: some of it may be done.
    Failed,
}

impl Outcome {
    /// The word in the line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A line, as it is written and as it is read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by this machine's clock: RFC 3339, UTC, milliseconds.
    pub at: String,
    /// See [`Doer::by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// See [`Doer::address`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// See [`Doer::uid`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// See [`Doer::request`].
    #[serde(rename = "request.id", default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// See [`Deed::act`].
    pub act: String,
    /// See [`Deed::pool`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// See [`Deed::key`].
    #[serde(rename = "key.id", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// See [`Deed::lease`].
    #[serde(rename = "lease.id", default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// See [`Deed::what`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Entry {
    /// That somebody did something.
    pub fn new(at: Timestamp, doer: &Doer, deed: &Deed, outcome: Outcome) -> Self {
        Self {
            at: at.to_string(),
            by: doer.by.clone(),
            address: doer.address,
            uid: doer.uid,
            request: doer.request.clone(),
            act: deed.act.to_owned(),
            pool: deed.pool.clone(),
            key: deed.key.map(|key| key.to_string()),
            lease: deed.lease.clone(),
            what: deed.what.clone(),
            outcome,
        }
    }

    /// The line, with its end.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("texts and numbers are JSON");
        line.push(b'\n');
        line
    }
}
