//! A key as operators see it: besides what services see, its leases, its reason, its note. Never its secret.

use serde::Serialize;
use utoipa::ToSchema;

use super::keys::KeyReply;
use super::provider::VerifiedReply;
use crate::domain::{DisabledReason, KeyRecord, OpenLease, Policy, Timestamp};

/// A key with all that is stored of it.
#[derive(Serialize, ToSchema)]
pub struct KeyRecordReply<'a> {
    #[serde(flatten)]
    key: KeyReply,
    left: u64,
    #[schema(value_type = Option<DisabledReason>, required)]
    disabled_reason: Option<&'static str>,
    #[schema(required)]
    resting_until: Option<Timestamp>,
    #[schema(required)]
    note: Option<&'a str>,
    #[schema(required)]
    added_at: Option<Timestamp>,
    #[schema(required)]
    verified: Option<VerifiedReply>,
    leases: Vec<OpenLeaseReply<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LeaseOfKey)]
struct OpenLeaseReply<'a> {
    #[schema(required)]
    by: Option<&'a str>,
    #[schema(required)]
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
            verified: record.verified.map(VerifiedReply::from),
            leases: record.leases.iter().map(OpenLeaseReply::from).collect(),
        }
    }
}

impl<'a> From<&'a OpenLease> for OpenLeaseReply<'a> {
    fn from(lease: &'a OpenLease) -> Self {
        Self { by: lease.by.as_deref(), expires_at: lease.expires_at }
    }
}
