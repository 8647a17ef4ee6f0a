//! look_up: read one key.

use rusqlite::{OptionalExtension, params_from_iter};

use super::{Seen, Step, row};
use crate::domain::{Key, KeyRef, Policy};

/// The condition that finds the row `k` of a key, and the values of its parameters.
pub(super) fn condition(step: &Step<'_>, pool: &Policy, key: &KeyRef) -> (&'static str, Vec<String>) {
    match key {
        KeyRef::Id(id) => ("k.id = ?1", vec![id.to_string()]),
        KeyRef::Secret(secret) if step.vault.has_two_texts() => {
            ("k.api_key IN (?1, ?2)", step.vault.texts(pool, secret))
        }
        KeyRef::Secret(secret) => ("k.api_key = ?1", step.vault.texts(pool, secret)),
    }
}

pub(super) fn look_up(step: &Step<'_>, pool: &Policy, key: &KeyRef) -> rusqlite::Result<Option<Seen<Key>>> {
    let (condition, values) = condition(step, pool, key);
    step.tx
        .prepare_cached(&format!(
            "SELECT {} FROM \"{}\" AS k WHERE {condition}",
            row::key_columns(pool),
            pool.collection
        ))?
        .query_row(params_from_iter(values), |found| Ok(Seen { value: row::key(step, pool, found)?, now: step.now }))
        .optional()
}
