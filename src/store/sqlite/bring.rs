//! bring and withdraw: the keys of a pool's key file come with their lines and go with them.

use super::{Step, add, removed, row};
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::{DisabledReason, KeyId, NewKey, Policy};
use crate::store::{Added, Brought};

pub(super) fn bring(step: &Step<'_>, pool: &Policy, keys: &[NewKey]) -> rusqlite::Result<Vec<Brought>> {
    keys.iter().map(|key| bring_one(step, pool, key)).collect()
}

fn bring_one(step: &Step<'_>, pool: &Policy, key: &NewKey) -> rusqlite::Result<Brought> {
    if make_the_files(step, pool, key)? {
        return Ok(Brought::Known);
    }
    if removed::is_removed(step, pool, &key.secret)? {
        return Ok(Brought::Removed);
    }
    let added = add::add(step, pool, std::slice::from_ref(key))?;
    Ok(match added.verdicts[..] {
        [Added::New(id)] => Brought::New(id),
        _ => Brought::Known,
    })
}

/// False = the pool does not have the key.
fn make_the_files(step: &Step<'_>, pool: &Policy, key: &NewKey) -> rusqlite::Result<bool> {
    let mut update = step.tx.prepare_cached(&format!(
        "UPDATE \"{}\" AS k SET
                 usage_count = CASE
                     WHEN k.from_file = 0 AND k.usage_count = 0 AND k.last_used IS NULL
                         AND NOT EXISTS (SELECT 1 {})
                     THEN ?2 ELSE k.usage_count END,
                 is_active = CASE WHEN k.disabled_reason = ?3 THEN 1 ELSE k.is_active END,
                 disabled_reason = nullif(k.disabled_reason, ?3),
                 from_file = 1
             WHERE k.api_key = ?1",
        pool.collection,
        row::leases(pool)
    ))?;
    for text in step.vault.texts(pool, &key.secret) {
        let count = key.usage_count.min(MAX_USAGE_COUNT);
        if update.execute((text, count, DisabledReason::RemovedFromFile.as_str()))? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn withdraw(step: &Step<'_>, pool: &Policy, ids: &[KeyId]) -> rusqlite::Result<u64> {
    let mut one = step.tx.prepare_cached(&format!(
        "UPDATE \"{}\" SET is_active = 0, disabled_reason = ?2 WHERE id = ?1 AND is_active = 1 AND from_file = 1",
        pool.collection
    ))?;
    let mut withdrawn = 0;
    for id in ids {
        withdrawn += one.execute((id.to_string(), DisabledReason::RemovedFromFile.as_str()))? as u64;
    }
    Ok(withdrawn)
}
