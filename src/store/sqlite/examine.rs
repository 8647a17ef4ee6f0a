//! examine: what a pool's table holds, for the person who must see to it. Reads only.

use std::collections::BTreeMap;

use rusqlite::Row;

use super::{Step, row, schema};
use crate::domain::secret::STANDS_FOR;
use crate::domain::{Policy, Secret, UsageCount};
use crate::store::vault::{self, NotOpened};
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
    // The table's own checks let no other text in; another program can have switched them off. What stands for a secret
    // is looked at one by one.
    let is_older = schema::is_older(step, pool)?;
    let sealed = if is_older { "NULL, NULL, NULL" } else { "sealed, sealed_by, unreadable" };
    let mut rows = step.tx.prepare_cached(&format!(
        "SELECT id, api_key, {sealed}, usage_count FROM \"{table}\"
         WHERE NOT ({} AND {}) OR api_key GLOB '{STANDS_FOR}*' ORDER BY id",
        schema::IS_SECRET,
        schema::IS_COUNT
    ))?;
    let mut examination = Examination { exists: true, documents, missing_indexes, ..Examination::default() };
    let mut encrypted = BTreeMap::new();
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let Some(invalid) = invalid_key(step, pool, row)? else {
            *encrypted.entry(row::sealed_by(row, [1, 3])?.unwrap_or_default()).or_default() += 1;
            continue;
        };
        examination.invalid += 1;
        if examination.invalid_keys.len() < listed as usize {
            examination.invalid_keys.push(invalid);
        }
    }
    examination.encrypted = encrypted.into_iter().collect();
    examination.wrong_keys.extend(schema::other_keys(step)?);
    if schema::lacks_keys(step, pool)? {
        examination.wrong_keys.push(vault::no_keys(pool));
    }
    Ok(examination)
}

/// What is wrong with a row; None = nothing.
fn invalid_key(step: &Step<'_>, pool: &Policy, row: &Row<'_>) -> rusqlite::Result<Option<InvalidKey>> {
    let mut reasons = Vec::new();
    let id: String = row.get(0)?;
    if let Ok(known) = id.parse()
        && let Err(why) = row::stored(row, [1, 2, 3, 4], |stored| step.vault.open(pool, known, stored))?
    {
        let text = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?);
        reasons.push(match Secret::parse(&text) {
            Err(error) if why == NotOpened::NoSecret && !text.starts_with(STANDS_FOR) => format!("api_key {error}"),
            _ => format!("api_key: {why}"),
        });
    }
    match UsageCount::from_i64(row.get(5)?) {
        UsageCount::Odd(number) if number < 0.0 => reasons.push("usage_count is negative".to_owned()),
        UsageCount::Odd(_) => reasons.push("usage_count is too large".to_owned()),
        UsageCount::Whole(_) | UsageCount::NotANumber => {}
    }
    Ok((!reasons.is_empty()).then_some(InvalidKey { id, reasons }))
}
