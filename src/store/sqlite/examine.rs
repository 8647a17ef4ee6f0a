//! examine: what a pool's table holds, for the person who must see to it. Reads only.

use rusqlite::Row;

use super::{Step, schema};
use crate::domain::{Policy, Secret, UsageCount};
use crate::store::{Examination, InvalidKey};

pub(super) fn examine(step: &Step<'_>, pool: &Policy, listed: u32) -> rusqlite::Result<Examination> {
    let mut there = step.tx.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2")?;
    let mut missing_indexes = Vec::new();
    for (name, _) in schema::indexes(pool) {
        if !there.exists(("index", &name))? {
            missing_indexes.push(name);
        }
    }
    if !there.exists(("table", &pool.collection))? {
        return Ok(Examination { missing_indexes, ..Examination::default() });
    }
    let table = &pool.collection;
    let documents =
        step.tx.prepare_cached(&format!("SELECT count(*) FROM \"{table}\""))?.query_row([], |row| row.get(0))?;
    // The table's own checks let none in; another program can have switched them off.
    let mut rows = step.tx.prepare_cached(&format!(
        "SELECT id, api_key, usage_count FROM \"{table}\" WHERE NOT ({} AND {}) ORDER BY id",
        schema::IS_SECRET,
        schema::IS_COUNT
    ))?;
    let mut examination = Examination { exists: true, documents, missing_indexes, ..Examination::default() };
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        examination.invalid += 1;
        if examination.invalid_keys.len() < listed as usize {
            examination.invalid_keys.push(invalid_key(row)?);
        }
    }
    Ok(examination)
}

/// What is wrong with a row.
fn invalid_key(row: &Row<'_>) -> rusqlite::Result<InvalidKey> {
    let mut reasons = Vec::new();
    if let Err(error) = Secret::parse(row.get_ref(1)?.as_str()?) {
        reasons.push(format!("api_key {error}"));
    }
    match UsageCount::from_i64(row.get(2)?) {
        UsageCount::Odd(number) if number < 0.0 => reasons.push("usage_count is negative".to_owned()),
        UsageCount::Odd(_) => reasons.push("usage_count is too large".to_owned()),
        UsageCount::Whole(_) | UsageCount::NotANumber => {}
    }
    Ok(InvalidKey { id: row.get(0)?, reasons })
}
