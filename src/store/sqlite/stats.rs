//! stats: count the pool by the domain's own rule, key by key.

use super::{Step, key_request, row, schema};
use crate::domain::stats::{Besides, Gathering, Group};
use crate::domain::{DisabledReason, Policy, PoolStats};

pub(super) fn stats(step: &Step<'_>, pool: &Policy, uses_per_key: u32) -> rusqlite::Result<PoolStats> {
    // Also of a table of an older program, for who only looks.
    let mut columns = row::key_columns(pool);
    if schema::is_older(step, pool)? {
        columns = columns.replace("k.sealed, k.sealed_by, k.unreadable", "NULL, NULL, NULL");
    }
    let mut all = step.tx.prepare_cached(&format!("SELECT {columns} FROM \"{}\" AS k", pool.collection))?;
    let mut gathering = Gathering::new(uses_per_key, step.now);
    for key in all.query_map([], |found| row::key(step, pool, found))? {
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
