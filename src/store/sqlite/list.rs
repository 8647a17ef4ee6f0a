//! list: a page of keys, by id.

use super::{Page, Seen, Step, row};
use crate::domain::{Key, KeyRecord, Policy};

pub(super) fn list(step: &Step<'_>, pool: &Policy, page: Page) -> rusqlite::Result<Seen<Vec<KeyRecord>>> {
    let mut keys = step.tx.prepare_cached(&format!(
        "SELECT {} FROM \"{}\" AS k WHERE k.id > ?1 ORDER BY k.id LIMIT ?2",
        row::KEY_COLUMNS,
        pool.collection
    ))?;
    let after = page.after.map(|after| after.id.to_string()).unwrap_or_default();
    let keys = keys.query_map((after, page.limit), row::key)?.collect::<rusqlite::Result<Vec<Key>>>()?;
    let records = keys.into_iter().map(|key| KeyRecord {
        key,
        order: None,
        leases: Vec::new(),
        disabled_reason: None,
        note: None,
        added_at: None,
    });
    Ok(Seen { value: records.collect(), now: step.now })
}
