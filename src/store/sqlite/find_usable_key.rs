//! find_usable_key: pick and stamp, reserve nothing.

use super::{FoundKey, Seen, Step, look_up::look_up, pick::pick, row};
use crate::domain::{Key, KeyRef, Policy};

pub(super) fn find_usable_key(step: &Step<'_>, pool: &Policy, uses_per_key: u32) -> rusqlite::Result<Option<FoundKey>> {
    let Some(id) = pick(step, pool, uses_per_key)? else { return Ok(None) };
    let mut stamp = step.tx.prepare_cached(&format!(
        "UPDATE \"{}\" SET last_used = ?2 WHERE id = ?1 RETURNING api_key, usage_count",
        pool.collection
    ))?;
    stamp
        .query_row((id.to_string(), step.now.as_millis()), |found| {
            Ok(FoundKey { id, secret: row::secret(found, 0)?, usage_count: found.get(1)?, last_used: step.now })
        })
        .map(Some)
}

/// One find after another: each stamps its key, which then goes last.
pub(super) fn find_all(
    step: &Step<'_>,
    pool: &Policy,
    uses_per_key: u32,
    callers: usize,
) -> rusqlite::Result<Vec<FoundKey>> {
    let mut found = Vec::with_capacity(callers);
    while found.len() < callers {
        match find_usable_key(step, pool, uses_per_key)? {
            Some(key) => found.push(key),
            None => break,
        }
    }
    Ok(found)
}

pub(super) fn peek_usable_key(
    step: &Step<'_>,
    pool: &Policy,
    uses_per_key: u32,
) -> rusqlite::Result<Option<Seen<Key>>> {
    match pick(step, pool, uses_per_key)? {
        Some(id) => look_up(step, pool, &KeyRef::Id(id)),
        None => Ok(None),
    }
}
