//! The pick: which usable keys go first.

use rusqlite::named_params;

use super::{FoundKey, Step, keep, row};
use crate::domain::{KeyId, Picks, Policy, Secret};
use crate::store::planted::{self, Bug};
use crate::store::vault::Vault;

/// What a usable key is, of the row `k`; the rule of `domain::state`. The switch and the count come first, as the
/// index has them; `:count` goes through the counts below the limit.
fn usable(vault: &Vault, pool: &Policy) -> String {
    let held = match () {
        () if planted::has(Bug::GuardDropped) => "0".to_owned(),
        () if planted::has(Bug::LapsedIsFree) => {
            format!("(SELECT count(*) {} AND expires_at > :now)", row::leases(pool))
        }
        () => format!("(SELECT count(*) {})", row::leases(pool)),
    };
    format!(
        "k.is_active = 1 AND k.usage_count = :count AND (k.resting_until IS NULL OR k.resting_until <= :now)
         AND k.usage_count + {held} < :uses_per_key AND {}",
        keep::openable(vault)
    )
}

/// A key to hand out.
pub(super) struct Picked {
    pub(super) id: KeyId,
    pub(super) secret: Secret,
    pub(super) usage_count: u64,
}

/// The usable key to hand out next; None where there is none.
pub(super) fn pick(step: &Step<'_>, pool: &Policy, uses_per_key: u32) -> rusqlite::Result<Option<Picked>> {
    Ok(pick_some(step, pool, uses_per_key, 1)?.pop())
}

/// The usable keys to hand out next, so many at most, in their order. Inside a write transaction no other writer can
/// come between this and what is then done to the keys.
///
/// A key just handed out goes last by itself: the oldest `last_used` comes first.
pub(super) fn pick_some(
    step: &Step<'_>,
    pool: &Policy,
    uses_per_key: u32,
    wanted: usize,
) -> rusqlite::Result<Vec<Picked>> {
    loop {
        let first = first(step, pool, uses_per_key, wanted)?;
        let mut picked = Vec::with_capacity(first.len());
        for id in &first {
            let read = keep::read(step, pool, *id)?;
            picked.extend(read.map(|(secret, usage_count)| Picked { id: *id, secret, usage_count }));
        }
        // One whose secret cannot be read is no longer among the first.
        if picked.len() == first.len() {
            return Ok(picked);
        }
    }
}

fn first(step: &Step<'_>, pool: &Policy, uses_per_key: u32, wanted: usize) -> rusqlite::Result<Vec<KeyId>> {
    let table = &pool.collection;
    let place = match pool.picks {
        Picks::LeastRecentlyUsed => "k.last_used",
        Picks::InOrder => "k.\"order\"",
    };
    let mut next_count = step.tx.prepare_cached(&format!(
        "SELECT min(usage_count) FROM \"{table}\" WHERE is_active = 1 AND usage_count >= ?1 AND usage_count < ?2"
    ))?;
    let mut first = step.tx.prepare_cached(&format!(
        "SELECT k.id, {place} FROM \"{table}\" AS k WHERE {} ORDER BY {place}, k.id LIMIT :wanted",
        usable(step.vault, pool)
    ))?;
    // None, never used or no order, is before every number: both here and in the index.
    let mut found: Vec<(Option<i64>, KeyId)> = Vec::new();
    let mut from = 0;
    while let Some(count) = next_count.query_row((from, uses_per_key), |row| row.get::<_, Option<i64>>(0))? {
        let now = step.now.as_millis();
        let values =
            named_params! {":count": count, ":now": now, ":uses_per_key": uses_per_key, ":wanted": wanted as i64};
        for one in first.query_map(values, |found| Ok((found.get(1)?, row::id(found, 0)?)))? {
            found.push(one?);
        }
        from = count + 1;
    }
    found.sort_unstable();
    found.truncate(wanted);
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Stamps a key that is handed out.
pub(super) fn stamp(step: &Step<'_>, pool: &Policy, picked: Picked) -> rusqlite::Result<FoundKey> {
    let Picked { id, secret, usage_count } = picked;
    step.tx
        .prepare_cached(&format!("UPDATE \"{}\" SET last_used = ?2 WHERE id = ?1", pool.collection))?
        .execute((id.to_string(), step.now.as_millis()))?;
    Ok(FoundKey { id, secret, usage_count, last_used: step.now })
}
