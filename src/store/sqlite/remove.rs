//! remove: take a key out of the pool, its leases with it.

use super::{Step, keep, removed, show::show};
use crate::domain::{KeyId, Policy};

pub(super) fn remove(step: &Step<'_>, pool: &Policy, id: KeyId) -> rusqlite::Result<bool> {
    let Some(seen) = show(step, pool, id)? else { return Ok(false) };
    if seen.value.from_file {
        removed::remember(step, pool, &keep::api_key(step, pool, id)?)?;
    }
    leases(step, pool, id)?;
    let removed = step
        .tx
        .prepare_cached(&format!("DELETE FROM \"{}\" WHERE id = ?1", pool.collection))?
        .execute([id.to_string()])?;
    Ok(removed > 0)
}

/// Drops the open leases of a key.
pub(super) fn leases(step: &Step<'_>, pool: &Policy, id: KeyId) -> rusqlite::Result<()> {
    step.tx
        .prepare_cached("DELETE FROM leases WHERE key = ?1 AND +collection = ?2")?
        .execute((id.to_string(), &pool.collection))
        .map(|_| ())
}
