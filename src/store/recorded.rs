//! What is recorded of a pool in a store: its policy, to be compared by the next instance that lends by it, that an
//! older server's state was taken over, and the keys that people were asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::timestamp::millis;
use crate::domain::{Lapsed, Picks, Policy, RequestId};

/// The name under which it is recorded that the older server's state was taken over into this pool.
pub(super) fn state_taken_over(pool: &Policy) -> String {
    format!("state_taken_over:{}", pool.name)
}

/// The beginning of the names of all requests for keys of this pool.
pub(super) fn key_requests(pool: &Policy) -> String {
    format!("key_request:{}:", pool.collection)
}

/// The name under which one is kept.
pub(super) fn key_request(pool: &Policy, id: &RequestId) -> String {
    key_requests(pool) + id.as_str()
}

/// What is kept of a policy, in the words in which it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded {
    uses_per_key: i64,
    picks: String,
    lapsed: String,
    lease_ttl_seconds: i64,
    rest_seconds: i64,
    rest_cap_seconds: i64,
    #[serde(default)]
    encrypt: bool,
}

impl Recorded {
    /// The record of a policy.
    pub(super) fn of(policy: &Policy) -> Self {
        let seconds = |duration| millis(duration) / 1000;
        Self {
            uses_per_key: i64::from(policy.uses_per_key),
            picks: policy.picks.as_str().to_owned(),
            lapsed: policy.lapsed.as_str().to_owned(),
            lease_ttl_seconds: seconds(policy.lease_ttl),
            rest_seconds: seconds(policy.rest),
            rest_cap_seconds: seconds(policy.rest_cap),
            encrypt: policy.encrypt,
        }
    }

    /// The name under which the policy of this pool is recorded.
    pub(super) fn name(pool: &Policy) -> String {
        format!("policy:{}", pool.name)
    }

    /// What an operator should know where another policy was recorded before. None also for one that says what no
    /// policy can: keylend did not write it, and it is not repeated.
    pub(super) fn differs(&self, pool: &Policy, before: &Self) -> Option<String> {
        let picks = [Picks::LeastRecentlyUsed, Picks::InOrder].map(Picks::as_str);
        let lapsed = [Lapsed::Count, Lapsed::Refund].map(Lapsed::as_str);
        let is_policy = picks.contains(&before.picks.as_str()) && lapsed.contains(&before.lapsed.as_str());
        (is_policy && self != before)
            .then(|| format!("pool {}: this instance lends with {self}, the last one recorded was {before}", pool.name))
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uses_per_key, picks, lapsed, lease_ttl_seconds, rest_seconds, rest_cap_seconds, encrypt } = self;
        write!(
            f,
            "{{uses_per_key: {uses_per_key}, picks: {picks}, lapsed: {lapsed}, lease_ttl_seconds: \
             {lease_ttl_seconds}, rest_seconds: {rest_seconds}, rest_cap_seconds: {rest_cap_seconds}, encrypt: {encrypt}}}"
        )
    }
}
