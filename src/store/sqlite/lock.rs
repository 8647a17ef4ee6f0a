//! lock and unlock: one process at a time does what must not be done by two, until its lock ends.

use std::time::Duration;

use rusqlite::OptionalExtension;
use rusqlite::types::Value;

use super::Step;

pub(super) fn lock(step: &Step<'_>, name: &str, owner: &str, lasts: Duration) -> rusqlite::Result<bool> {
    let held = step
        .tx
        .prepare_cached("SELECT value FROM keylend_meta WHERE name = ?1")?
        .query_row([record(name)], |found| found.get::<_, Value>(0))
        .optional()?;
    if let Some(Value::Text(held)) = held
        && let Some((holder, ends_at)) = held.rsplit_once(' ')
        && holder != owner
        && ends_at.parse::<i64>().is_ok_and(|ends_at| ends_at > step.now.as_millis())
    {
        return Ok(false);
    }
    let held = format!("{owner} {}", step.now.plus(lasts).as_millis());
    step.tx
        .prepare_cached("INSERT OR REPLACE INTO keylend_meta (name, value) VALUES (?1, ?2)")?
        .execute((record(name), held))?;
    Ok(true)
}

pub(super) fn unlock(step: &Step<'_>, name: &str, owner: &str) -> rusqlite::Result<()> {
    step.tx
        .prepare_cached("DELETE FROM keylend_meta WHERE name = ?1 AND substr(value, 1, length(?2) + 1) = ?2 || ' '")?
        .execute((record(name), owner))
        .map(|_| ())
}

fn record(name: &str) -> String {
    format!("lock:{name}")
}
