//! request_key, key_requests, close_key_requests: what people were asked for.

use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use super::Step;
use crate::domain::{KeyRequest, Policy, RequestId, Timestamp};
use crate::store::recorded::{key_request, key_requests};

/// What is kept of a request.
#[derive(Serialize, Deserialize)]
struct Kept {
    by: String,
    asked_at: i64,
}

pub(super) fn request(step: &Step<'_>, pool: &Policy, id: &RequestId, by: &str) -> rusqlite::Result<bool> {
    let kept = Kept { by: by.to_owned(), asked_at: step.now.as_millis() };
    let kept =
        serde_json::to_string(&kept).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let made = step
        .tx
        .prepare_cached("INSERT INTO keylend_meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute((key_request(pool, id), kept))?;
    Ok(made > 0)
}

pub(super) fn list(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<Vec<KeyRequest>> {
    let prefix = key_requests(pool);
    let mut found =
        step.tx.prepare_cached("SELECT name, value FROM keylend_meta WHERE name > ?1 AND name < ?1 || '~'")?;
    let rows = found.query_map([&prefix], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Value>(1)?)))?;
    let mut open = Vec::new();
    for row in rows {
        let (name, value) = row?;
        // Anything that keylend did not write is no request.
        open.extend(open_request(&prefix, &name, &value));
    }
    open.sort_by(|one, other| (one.asked_at, &one.id).cmp(&(other.asked_at, &other.id)));
    Ok(open)
}

fn open_request(prefix: &str, name: &str, value: &Value) -> Option<KeyRequest> {
    let Value::Text(value) = value else { return None };
    let Kept { by, asked_at } = serde_json::from_str(value).ok()?;
    let id = name.strip_prefix(prefix)?.parse().ok()?;
    Some(KeyRequest { id, by, asked_at: Timestamp::from_millis(asked_at) })
}

pub(super) fn count(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<u64> {
    step.tx
        .prepare_cached("SELECT count(*) FROM keylend_meta WHERE name > ?1 AND name < ?1 || '~'")?
        .query_row([key_requests(pool)], |found| found.get(0))
}

pub(super) fn close(step: &Step<'_>, pool: &Policy, ids: &[RequestId]) -> rusqlite::Result<u64> {
    let mut one = step.tx.prepare_cached("DELETE FROM keylend_meta WHERE name = ?1")?;
    let mut closed = 0;
    for id in ids {
        closed += one.execute([key_request(pool, id)])? as u64;
    }
    Ok(closed)
}
