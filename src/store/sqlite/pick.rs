//! The pick: which usable key goes first.

use rusqlite::{OptionalExtension, named_params};

use super::{Step, row};
use crate::domain::{KeyId, Picks, Policy};

/// What a usable key is, of the row `k`; the rule of `domain::state`. The switch and the count come first, as the
/// index has them; `:count` goes through the counts below the limit.
fn usable(pool: &Policy) -> String {
    format!(
        "k.is_active = 1 AND k.usage_count = :count AND (k.resting_until IS NULL OR k.resting_until <= :now)
         AND k.usage_count + (SELECT count(*) {}) < :uses_per_key",
        row::leases(pool)
    )
}

/// The usable key to hand out next; None where there is none. Inside a write transaction no other writer can come
/// between this and what is then done to the key.
///
/// A key just handed out goes last by itself: the oldest `last_used` comes first.
pub(super) fn pick(step: &Step<'_>, pool: &Policy, uses_per_key: u32) -> rusqlite::Result<Option<KeyId>> {
    let table = &pool.collection;
    let place = match pool.picks {
        Picks::LeastRecentlyUsed => "k.last_used",
        Picks::InOrder => "k.\"order\"",
    };
    let mut next_count = step.tx.prepare_cached(&format!(
        "SELECT min(usage_count) FROM \"{table}\" WHERE is_active = 1 AND usage_count >= ?1 AND usage_count < ?2"
    ))?;
    let mut first = step.tx.prepare_cached(&format!(
        "SELECT k.id, {place} FROM \"{table}\" AS k WHERE {} ORDER BY {place}, k.id LIMIT 1",
        usable(pool)
    ))?;
    let mut best: Option<(Option<i64>, KeyId)> = None;
    let mut from = 0;
    while let Some(count) = next_count.query_row((from, uses_per_key), |row| row.get::<_, Option<i64>>(0))? {
        let found = first
            .query_row(
                named_params! {":count": count, ":now": step.now.as_millis(), ":uses_per_key": uses_per_key},
                |found| Ok((found.get::<_, Option<i64>>(1)?, row::id(found, 0)?)),
            )
            .optional()?;
        // None, never used or no order, is before every number: both here and in the index.
        best = match (best, found) {
            (Some(best), Some(found)) => Some(best.min(found)),
            (best, found) => best.or(found),
        };
        from = count + 1;
    }
    Ok(best.map(|(_, id)| id))
}
