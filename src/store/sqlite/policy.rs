//! record_policy: the policy that instances lend by, kept where all of them see it.

use rusqlite::OptionalExtension;
use rusqlite::types::Value;

use super::Step;
use crate::domain::Policy;
use crate::store::recorded::Recorded;

pub(super) fn record(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<Option<String>> {
    let name = Recorded::name(pool);
    let before = step
        .tx
        .prepare_cached("SELECT value FROM keylend_meta WHERE name = ?1")?
        .query_row([&name], |found| found.get::<_, Value>(0))
        .optional()?;
    let own = Recorded::of(pool);
    let text = serde_json::to_string(&own).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    step.tx
        .prepare_cached(
            "INSERT INTO keylend_meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        )?
        .execute((&name, text))?;
    // Anything that keylend did not write is nothing to compare with.
    let before = match before {
        Some(Value::Text(text)) => serde_json::from_str::<Recorded>(&text).ok(),
        _ => None,
    };
    Ok(before.and_then(|before| own.differs(pool, &before)))
}
