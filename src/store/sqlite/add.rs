//! add: new keys, in the order given.

use bson::oid::ObjectId;
use rusqlite::params;

use super::{AddedKeys, Step, known, removed};
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::{DisabledReason, KeyId, NewKey, Picks, Policy, Timestamp};
use crate::store::Added;
use crate::store::vault::Kept;

pub(super) fn add(step: &Step<'_>, pool: &Policy, keys: &[NewKey]) -> rusqlite::Result<AddedKeys> {
    let first = match pool.picks {
        Picks::LeastRecentlyUsed => None,
        Picks::InOrder => Some(reserve_places(step, pool, keys.len())?),
    };
    let mut insert = step.tx.prepare_cached(&format!(
        "INSERT INTO \"{}\" (id, api_key, usage_count, last_used, is_active, resting_until, disabled_reason, note,
             added_at, \"order\", from_file, sealed, sealed_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT DO NOTHING",
        pool.collection
    ))?;
    let verdicts: rusqlite::Result<Vec<Added>> = keys
        .iter()
        .zip(0..)
        .map(|(key, place)| {
            // Under the other text that it can have, no index would keep it out.
            if step.vault.has_two_texts() && known::known(step, pool, std::slice::from_ref(key))?[0] {
                return Ok(Added::Known);
            }
            let id = key.id.unwrap_or_else(|| KeyId::from_bytes(ObjectId::new().bytes()));
            let Kept { api_key, sealed } = step.vault.keep(pool, id, &key.secret);
            let (sealed, sealed_by) = sealed.unzip();
            let made = insert.execute(params![
                id.to_string(),
                api_key,
                key.usage_count.min(MAX_USAGE_COUNT),
                key.last_used.map(Timestamp::as_millis),
                key.is_active,
                key.resting_until.map(Timestamp::as_millis),
                key.disabled_reason.map(DisabledReason::as_str),
                key.note,
                key.added_at.unwrap_or(step.now).as_millis(),
                first.map(|first| first + place),
                key.from_file,
                sealed,
                sealed_by,
            ])?;
            if made == 0 {
                return Ok(Added::Known);
            }
            removed::forget(step, pool, &key.secret)?;
            Ok(Added::New(id))
        })
        .collect();
    Ok(AddedKeys { verdicts: verdicts?, race_proof: true })
}

/// Takes the next places in the pool's order from its counter; answers the first.
fn reserve_places(step: &Step<'_>, pool: &Policy, places: usize) -> rusqlite::Result<i64> {
    let places = i64::try_from(places).unwrap_or(i64::MAX);
    step.tx
        .prepare_cached(
            "INSERT INTO keylend_meta (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value",
        )?
        .query_row((format!("order:{}", pool.collection), places), |row| row.get::<_, i64>(0))
        .map(|after| after - places)
}
