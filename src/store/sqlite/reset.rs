//! reset: counts start from 0 again, many in one transaction.

use super::Step;
use crate::domain::{KeyId, Policy};

pub(super) fn reset(step: &Step<'_>, pool: &Policy, ids: &[KeyId]) -> rusqlite::Result<Vec<KeyId>> {
    let mut one = step
        .tx
        .prepare_cached(&format!("UPDATE \"{}\" SET usage_count = 0, last_used = ?2 WHERE id = ?1", pool.collection))?;
    let mut reset = Vec::new();
    for id in ids {
        if one.execute((id.to_string(), step.now.as_millis()))? > 0 {
            reset.push(*id);
        }
    }
    Ok(reset)
}
