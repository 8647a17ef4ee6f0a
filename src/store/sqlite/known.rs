//! known: which keys the pool has already.

use super::Step;
use crate::domain::{NewKey, Policy};

pub(super) fn known(step: &Step<'_>, pool: &Policy, keys: &[NewKey]) -> rusqlite::Result<Vec<bool>> {
    let mut find = step.tx.prepare_cached(&format!(
        "SELECT EXISTS (SELECT 1 FROM \"{}\" WHERE api_key = ?1 OR id = ?2)",
        pool.collection
    ))?;
    let mut is_known = |key: &NewKey| {
        let id = key.id.map(|id| id.to_string());
        for text in step.vault.texts(pool, &key.secret) {
            if find.query_row((text, &id), |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    keys.iter().map(&mut is_known).collect()
}
