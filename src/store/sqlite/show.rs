//! show: read one key with all that is stored of it, or one of its leases.

use rusqlite::OptionalExtension;

use super::{Seen, Step, row};
use crate::domain::{KeyId, KeyRecord, LeaseId, OpenLease, Policy};

pub(super) fn show(step: &Step<'_>, pool: &Policy, id: KeyId) -> rusqlite::Result<Option<Seen<KeyRecord>>> {
    step.tx
        .prepare_cached(&format!(
            "SELECT {} FROM \"{}\" AS k WHERE k.id = ?1",
            row::record_columns(pool),
            pool.collection
        ))?
        .query_row([id.to_string()], |found| Ok(Seen { value: row::record(step, pool, found)?, now: step.now }))
        .optional()
}

pub(super) fn find_lease(step: &Step<'_>, pool: &Policy, lease: &LeaseId) -> rusqlite::Result<Option<OpenLease>> {
    step.tx
        .prepare_cached(
            "SELECT by, expires_at FROM leases WHERE collection = ?1 AND key = ?2 AND entry = ?3 AND expires_at > ?4",
        )?
        .query_row(
            (&pool.collection, lease.key.to_string(), lease.entry.to_string(), step.now.as_millis()),
            row::open_lease,
        )
        .optional()
}
