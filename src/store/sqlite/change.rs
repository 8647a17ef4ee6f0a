//! change: what an operator sets of a key; the domain's own rule, row by row.

use rusqlite::params;

use super::{Changed, Step, keep, remove, removed, show::show};
use crate::domain::{DisabledReason, KeyChange, KeyId, KeyRecord, Policy, Secret, Timestamp};

pub(super) fn change(step: &Step<'_>, pool: &Policy, id: KeyId, change: &KeyChange) -> rusqlite::Result<Changed> {
    let Some(mut seen) = show(step, pool, id)? else { return Ok(Changed::UnknownKey) };
    if let Some(secret) = &change.secret
        && has_twin(step, pool, id, secret)?
    {
        return Ok(Changed::KnownSecret);
    }
    let kept = keep::api_key(step, pool, id)?;
    if let Some(secret) = &change.secret
        && seen.value.key.secret.is_none()
        && step.vault.texts(pool, secret).contains(&kept)
    {
        // It cannot be read, and is no other all the same: what stands for it tells.
        seen.value.key.secret = Some(secret.clone());
    }
    let before = seen.value.clone();
    change.apply(&mut seen.value, step.now);
    let record = &seen.value;
    let exposed = |record: &KeyRecord| record.key.secret.as_ref().map(|secret| secret.expose().to_owned());
    if before.from_file && exposed(&before) != exposed(record) {
        removed::remember(step, pool, &kept)?;
    }
    if record.leases.is_empty() {
        remove::leases(step, pool, id)?;
    }
    step.tx
        .prepare_cached(&format!(
            "UPDATE \"{}\" SET usage_count = coalesce(?2, usage_count), is_active = ?3, resting_until = ?4,
                 disabled_reason = ?5, note = ?6, from_file = ?7, verified_at = ?8, verdict = ?9, credits = ?10
             WHERE id = ?1",
            pool.collection
        ))?
        .execute(params![
            id.to_string(),
            record.key.usage_count.whole(),
            record.key.is_active,
            record.key.resting_until.map(Timestamp::as_millis),
            record.disabled_reason.map(DisabledReason::as_str),
            record.note,
            record.from_file,
            record.verified.map(|verified| verified.at.as_millis()),
            record.verified.map(|verified| verified.verdict),
            record.verified.and_then(|verified| verified.credits),
        ])?;
    if let Some(secret) = &change.secret {
        keep::write(step, pool, id, &step.vault.keep(pool, id, secret))?;
        // As it is stored now.
        return Ok(show(step, pool, id)?.map_or(Changed::UnknownKey, |seen| Changed::Changed(Box::new(seen))));
    }
    Ok(Changed::Changed(Box::new(seen)))
}

/// Whether another key has the secret.
pub(super) fn has_twin(step: &Step<'_>, pool: &Policy, id: KeyId, secret: &Secret) -> rusqlite::Result<bool> {
    let mut twin =
        step.tx.prepare_cached(&format!("SELECT 1 FROM \"{}\" WHERE api_key = ?1 AND id <> ?2", pool.collection))?;
    for text in step.vault.texts(pool, secret) {
        if twin.exists((text, id.to_string()))? {
            return Ok(true);
        }
    }
    Ok(false)
}
