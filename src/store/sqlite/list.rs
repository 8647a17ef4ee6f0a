//! list: a page of keys, by id.

use super::{Seen, Step, row};
use crate::domain::{Key, KeyId, Policy};

pub(super) fn list(
    step: &Step<'_>,
    pool: &Policy,
    after: Option<KeyId>,
    limit: u32,
) -> rusqlite::Result<Seen<Vec<Key>>> {
    let mut page = step.tx.prepare_cached(&format!(
        "SELECT {} FROM \"{}\" AS k WHERE k.id > ?1 ORDER BY k.id LIMIT ?2",
        row::KEY_COLUMNS,
        pool.collection
    ))?;
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let keys = page.query_map((after, limit), row::key)?.collect::<rusqlite::Result<Vec<Key>>>()?;
    Ok(Seen { value: keys, now: step.now })
}
