//! look_up: read one key.

use rusqlite::OptionalExtension;

use super::{Seen, Step, row};
use crate::domain::{Key, KeyRef, Policy};

/// The condition that finds the row `k` of a key, and the value of its one parameter.
pub(super) fn condition(key: &KeyRef) -> (&'static str, String) {
    match key {
        KeyRef::Id(id) => ("k.id = ?1", id.to_string()),
        KeyRef::Secret(secret) => ("k.api_key = ?1", secret.expose().to_owned()),
    }
}

pub(super) fn look_up(step: &Step<'_>, pool: &Policy, key: &KeyRef) -> rusqlite::Result<Option<Seen<Key>>> {
    let (condition, value) = condition(key);
    step.tx
        .prepare_cached(&format!(
            "SELECT {} FROM \"{}\" AS k WHERE {condition}",
            row::key_columns(pool),
            pool.collection
        ))?
        .query_row([value], |found| Ok(Seen { value: row::key(found)?, now: step.now }))
        .optional()
}
