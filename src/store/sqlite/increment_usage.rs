//! increment_usage: count a use that has happened.

use rusqlite::{OptionalExtension, params_from_iter};

use super::look_up::condition;
use super::{Incremented, Step, row};
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::{KeyRef, Policy, UsageCount};

pub(super) fn increment_usage(step: &Step<'_>, pool: &Policy, key: &KeyRef) -> rusqlite::Result<Incremented> {
    let (condition, values) = condition(step, pool, key);
    let table = &pool.collection;
    let found = step
        .tx
        .prepare_cached(&format!("SELECT k.id, k.usage_count FROM \"{table}\" AS k WHERE {condition}"))?
        .query_row(params_from_iter(values), |found| Ok((row::id(found, 0)?, found.get::<_, u64>(1)?)))
        .optional()?;
    let Some((id, count)) = found else { return Ok(Incremented::UnknownKey) };
    if count >= MAX_USAGE_COUNT {
        return Ok(Incremented::InvalidKey);
    }
    step.tx
        .prepare_cached(&format!("UPDATE \"{table}\" SET usage_count = usage_count + 1, last_used = ?2 WHERE id = ?1"))?
        .execute((id.to_string(), step.now.as_millis()))?;
    Ok(Incremented::Counted { id, usage_count: UsageCount::Whole(count + 1), last_used: step.now })
}
