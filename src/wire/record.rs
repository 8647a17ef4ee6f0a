//! A key as operators see it: besides what services see, its leases, its reason, its note. Never its secret.

use serde::Serialize;

use super::keys::KeyReply;
use crate::domain::{DisabledReason, KeyRecord, OpenLease, Policy, Timestamp};

/// A key with all that is stored of it.
#[derive(Serialize)]
pub struct KeyRecordReply<'a> {
    #[serde(flatten)]
    key: KeyReply,
    left: u64,
    disabled_reason: Option<&'static str>,
    resting_until: Option<Timestamp>,
    note: Option<&'a str>,
    added_at: Option<Timestamp>,
    leases: Vec<OpenLeaseReply<'a>>,
}

#[derive(Serialize)]
struct OpenLeaseReply<'a> {
    by: Option<&'a str>,
    expires_at: Option<Timestamp>,
}

impl<'a> KeyRecordReply<'a> {
    /// Shows a key of `pool` as it is at the instant it was read.
    pub fn new(pool: &Policy, record: &'a KeyRecord, now: Timestamp) -> Self {
        Self {
            key: KeyReply::new(pool, &record.key, now),
            left: record.key.left(pool.uses_per_key),
            disabled_reason: record.disabled_reason.map(DisabledReason::as_str),
            resting_until: record.key.resting_until,
            note: record.note.as_deref(),
            added_at: record.added_at,
            leases: record.leases.iter().map(OpenLeaseReply::from).collect(),
        }
    }
}

impl<'a> From<&'a OpenLease> for OpenLeaseReply<'a> {
    fn from(lease: &'a OpenLease) -> Self {
        Self { by: lease.by.as_deref(), expires_at: lease.expires_at }
    }
}
