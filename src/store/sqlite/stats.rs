//! stats: count the pool by the domain's own rule, key by key.

use super::{Step, key_request, row};
use crate::domain::stats::{Besides, Gathering, Group};
use crate::domain::{DisabledReason, Policy, PoolStats};

pub(super) fn stats(step: &Step<'_>, pool: &Policy, uses_per_key: u32) -> rusqlite::Result<PoolStats> {
    let mut all =
        step.tx.prepare_cached(&format!("SELECT {} FROM \"{}\" AS k", row::key_columns(pool), pool.collection))?;
    let mut gathering = Gathering::new(uses_per_key, step.now);
    for key in all.query_map([], row::key)? {
        gathering.add(&Group::of(&key?, pool, uses_per_key, step.now));
    }
    let rejected = step
        .tx
        .prepare_cached(&format!(
            "SELECT count(*) FROM \"{}\" WHERE is_active = 0 AND disabled_reason = ?1",
            pool.collection
        ))?
        .query_row([DisabledReason::Rejected.as_str()], |found| found.get(0))?;
    // Credits live in the older documents on MongoDB only.
    Ok(gathering.finish(Besides { needs_migration: 0, rejected, key_requests: key_request::count(step, pool)? }))
}
