//! take: pick and count in one step, without a lease.

use super::pick::{Picked, pick};
use super::{Step, Taken, look_up::look_up};
use crate::domain::{KeyRef, Policy};

pub(super) fn take(step: &Step<'_>, pool: &Policy, uses: u32) -> rusqlite::Result<Option<Taken>> {
    let Some(Picked { id, secret, usage_count }) = pick(step, pool, pool.uses_per_key)? else { return Ok(None) };
    let Some(seen) = look_up(step, pool, &KeyRef::Id(id))? else { return Ok(None) };
    let key = seen.value;
    let uses = u32::try_from(key.left(pool.uses_per_key)).unwrap_or(u32::MAX).min(uses);
    let usage_count = usage_count + u64::from(uses);
    step.tx
        .prepare_cached(&format!("UPDATE \"{}\" SET usage_count = ?2, last_used = ?3 WHERE id = ?1", pool.collection))?
        .execute((id.to_string(), usage_count, step.now.as_millis()))?;
    Ok(Some(Taken { id, secret, usage_count, uses }))
}
