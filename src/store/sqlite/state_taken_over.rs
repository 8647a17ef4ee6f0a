//! state_taken_over: that the older server's state was taken over into a pool, once and for all.

use super::Step;
use crate::domain::Policy;
use crate::store::recorded;

pub(super) fn is_recorded(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<bool> {
    step.tx.prepare_cached("SELECT 1 FROM keylend_meta WHERE name = ?1")?.exists([recorded::state_taken_over(pool)])
}

pub(super) fn record(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<()> {
    step.tx
        .prepare_cached("INSERT OR IGNORE INTO keylend_meta (name, value) VALUES (?1, ?2)")?
        .execute((recorded::state_taken_over(pool), step.now.as_millis()))
        .map(|_| ())
}
