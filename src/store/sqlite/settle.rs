//! How a lease ends: its entry goes, once.

use super::{EntryId, LeaseRequest, Step};
use crate::domain::{Lapsed, LeaseId, Policy};
use crate::store::planted::{self, Bug};

/// Removes the entry of a lease that has not lapsed. False = it is gone.
pub(super) fn end(step: &Step<'_>, pool: &Policy, lease: &LeaseId) -> rusqlite::Result<bool> {
    let act = if planted::has(Bug::SettledTwice) { "UPDATE leases SET by = by" } else { "DELETE FROM leases" };
    let ended = step
        .tx
        .prepare_cached(&format!("{act} WHERE collection = ?1 AND key = ?2 AND entry = ?3 AND expires_at > ?4"))?
        .execute((&pool.collection, lease.key.to_string(), lease.entry.to_string(), step.now.as_millis()))?;
    Ok(ended > 0)
}

/// Ends a lease that could not be answered, as unused. False = it is not there, or a repeat of its request was
/// answered with it.
pub(super) fn give_back(step: &Step<'_>, pool: &Policy, request: &LeaseRequest) -> rusqlite::Result<bool> {
    let ended = step
        .tx
        .prepare_cached("DELETE FROM leases WHERE collection = ?1 AND entry = ?2 AND expires_at > ?3 AND NOT repeated")?
        .execute((&pool.collection, request.entry.to_string(), step.now.as_millis()))?;
    Ok(ended > 0)
}

/// Settles one lapsed lease as the pool's policy says.
pub(super) fn lapse(step: &Step<'_>, pool: &Policy, entry: EntryId) -> rusqlite::Result<()> {
    if pool.lapsed == Lapsed::Count {
        step.tx
            .prepare_cached(&format!(
                "UPDATE \"{}\" SET usage_count = usage_count + 1
                 WHERE id = (SELECT key FROM leases WHERE entry = ?1)",
                pool.collection
            ))?
            .execute([entry.to_string()])?;
    }
    step.tx.prepare_cached("DELETE FROM leases WHERE entry = ?1")?.execute([entry.to_string()])?;
    Ok(())
}
