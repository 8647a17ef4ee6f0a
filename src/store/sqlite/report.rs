//! report: end a lease with its effect on the key.

use super::{Settled, Step, look_up::look_up, settle};
use crate::domain::report::Effect;
use crate::domain::state::state;
use crate::domain::timestamp::millis;
use crate::domain::{KeyRef, LeaseId, Policy, Report};

pub(super) fn report(
    step: &Step<'_>,
    pool: &Policy,
    lease: &LeaseId,
    report: Report,
) -> rusqlite::Result<Option<Settled>> {
    if !settle::end(step, pool, lease)? {
        return Ok(None);
    }
    let (table, id) = (&pool.collection, lease.key.to_string());
    match report.effect(pool) {
        Effect::Nothing => 0,
        Effect::Count => step
            .tx
            .prepare_cached(&format!("UPDATE \"{table}\" SET usage_count = usage_count + 1 WHERE id = ?1"))?
            .execute([id])?,
        // A longer rest is never shortened by a later, shorter one.
        Effect::Rest(rest) => step
            .tx
            .prepare_cached(&format!(
                "UPDATE \"{table}\" SET resting_until = max(coalesce(resting_until, ?2), ?2) WHERE id = ?1"
            ))?
            .execute((id, step.now.as_millis().saturating_add(millis(rest))))?,
        // Only a key that was active gets the reason: an operator's own is kept.
        Effect::Disable(reason) => step
            .tx
            .prepare_cached(&format!(
                "UPDATE \"{table}\" SET is_active = 0, disabled_reason = ?2 WHERE id = ?1 AND is_active = 1"
            ))?
            .execute((id, reason.as_str()))?,
    };
    let seen = look_up(step, pool, &KeyRef::Id(lease.key))?;
    Ok(seen.map(|seen| Settled {
        id: seen.value.id,
        usage_count: seen.value.usage_count,
        state: state(&seen.value, pool.uses_per_key, seen.now),
    }))
}
