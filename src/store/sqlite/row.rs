//! A row as a key, and the texts and numbers of the domain as SQLite keeps them.

use rusqlite::types::Type;
use rusqlite::{Error, Row};

use super::Step;
use crate::domain::{
    DisabledReason, Key, KeyId, KeyRecord, OpenLease, Policy, Secret, Timestamp, UsageCount, Verified,
};

/// The columns that [`key`] reads, of the pool's table as `k`.
pub(super) fn key_columns(pool: &Policy) -> String {
    let leases = leases(pool);
    format!(
        "k.id, k.api_key, k.usage_count, k.last_used, k.is_active, k.resting_until,
         (SELECT count(*) {leases}), (SELECT min(expires_at) {leases})"
    )
}

/// The columns that [`record`] reads, of the pool's table as `k`.
pub(super) fn record_columns(pool: &Policy) -> String {
    format!(
        "{}, k.\"order\", k.disabled_reason, k.note, k.added_at, k.from_file, k.verified_at,
         k.verdict, k.credits",
        key_columns(pool)
    )
}

/// The open leases of the key `k`. A key that was brought from another pool has its id there too. The plus keeps
/// SQLite from looking for all leases of the pool first: those of one key are fewer.
pub(super) fn leases(pool: &Policy) -> String {
    format!("FROM leases WHERE leases.key = k.id AND +leases.collection = '{}'", pool.collection)
}

/// Reads [`record_columns`], and the leases beside them.
pub(super) fn record(step: &Step<'_>, pool: &Policy, row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let mut record = KeyRecord {
        key: key(row)?,
        order: row.get(8)?,
        leases: Vec::new(),
        disabled_reason: text(row, 9)?.as_deref().and_then(DisabledReason::of_word),
        note: text(row, 10)?,
        added_at: instant(row, 11)?,
        from_file: row.get(12)?,
        verified: Verified::of(instant(row, 13)?, text(row, 14)?.as_deref(), row.get(15)?),
    };
    if record.key.open_leases.is_some_and(|open| open > 0) {
        let mut leases = step.tx.prepare_cached(
            "SELECT by, expires_at FROM leases WHERE key = ?1 AND +collection = ?2 ORDER BY expires_at, entry",
        )?;
        let leases = leases.query_map((record.key.id.to_string(), &pool.collection), open_lease)?;
        record.leases = leases.collect::<rusqlite::Result<_>>()?;
    }
    Ok(record)
}

/// Reads `by` and `expires_at` of a lease.
pub(super) fn open_lease(row: &Row<'_>) -> rusqlite::Result<OpenLease> {
    Ok(OpenLease { by: text(row, 0)?, expires_at: instant(row, 1)? })
}

/// A text that somebody else may have written: one that is no UTF-8 is read with replacement characters, for it must not
/// make the whole pool unreadable.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    let bytes = row.get_ref(column)?.as_bytes_or_null()?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// Reads [`key_columns`].
pub(super) fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        id: id(row, 0)?,
        secret: Secret::parse(row.get_ref(1)?.as_str()?).ok(),
        usage_count: UsageCount::from_i64(row.get(2)?),
        last_used: instant(row, 3)?,
        is_active: row.get(4)?,
        resting_until: instant(row, 5)?,
        open_leases: Some(row.get(6)?),
        first_lease_ends_at: instant(row, 7)?,
    })
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<KeyId> {
    parsed(row, column)
}

/// A text that has a parser in the domain.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// The secret in a row; the table's own check lets no other text in.
pub(super) fn secret(row: &Row<'_>, column: usize) -> rusqlite::Result<Secret> {
    Secret::parse(row.get_ref(column)?.as_str()?)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

pub(super) fn instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}
