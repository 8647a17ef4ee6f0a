//! sweep: settle the lapsed leases of a pool.

use super::Step;
use crate::domain::{Lapsed, Policy};

pub(super) fn sweep(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<u64> {
    let now = step.now.as_millis();
    if pool.lapsed == Lapsed::Count {
        step.tx
            .prepare_cached(&format!(
                "UPDATE \"{}\" AS k SET usage_count = usage_count + lapsed.uses
                 FROM (SELECT key, count(*) AS uses FROM leases WHERE collection = ?1 AND expires_at <= ?2
                       GROUP BY key) AS lapsed
                 WHERE k.id = lapsed.key",
                pool.collection
            ))?
            .execute((&pool.collection, now))?;
    }
    let settled = step
        .tx
        .prepare_cached("DELETE FROM leases WHERE collection = ?1 AND expires_at <= ?2")?
        .execute((&pool.collection, now))?;
    Ok(settled as u64)
}
