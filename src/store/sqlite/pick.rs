//! The pick: which usable keys go first.

use rusqlite::named_params;

use super::{FoundKey, Step, row};
use crate::domain::{KeyId, Picks, Policy};
use crate::store::planted::{self, Bug};

/// What a usable key is, of the row `k`; the rule of `domain::state`. The switch and the count come first, as the
/// index has them; `:count` goes through the counts below the limit.
fn usable(pool: &Policy) -> String {
    let held = match () {
        () if planted::has(Bug::GuardDropped) => "0".to_owned(),
        () if planted::has(Bug::LapsedIsFree) => {
            format!("(SELECT count(*) {} AND expires_at > :now)", row::leases(pool))
        }
        () => format!("(SELECT count(*) {})", row::leases(pool)),
    };
    format!(
        "k.is_active = 1 AND k.usage_count = :count AND (k.resting_until IS NULL OR k.resting_until <= :now)
         AND k.usage_count + {held} < :uses_per_key"
    )
}

/// The usable key to hand out next; None where there is none.
pub(super) fn pick(step: &Step<'_>, pool: &Policy, uses_per_key: u32) -> rusqlite::Result<Option<KeyId>> {
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
) -> rusqlite::Result<Vec<KeyId>> {
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
        usable(pool)
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

/// Stamps a key that is handed out, and reads what its caller gets. In two statements, for SQLite keeps what one with
/// RETURNING answers in a table that it makes anew each time.
pub(super) fn stamp(step: &Step<'_>, pool: &Policy, id: KeyId) -> rusqlite::Result<FoundKey> {
    let (table, text) = (&pool.collection, id.to_string());
    step.tx
        .prepare_cached(&format!("UPDATE \"{table}\" SET last_used = ?2 WHERE id = ?1"))?
        .execute((&text, step.now.as_millis()))?;
    step.tx
        .prepare_cached(&format!("SELECT api_key, usage_count FROM \"{table}\" WHERE id = ?1"))?
        .query_row([&text], |found| {
            Ok(FoundKey { id, secret: row::secret(found, 0)?, usage_count: found.get(1)?, last_used: step.now })
        })
}
