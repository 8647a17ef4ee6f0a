//! A row as a key, and the texts and numbers of the domain as SQLite keeps them.

use rusqlite::types::Type;
use rusqlite::{Error, Row};

use crate::domain::{Key, KeyId, Secret, Timestamp, UsageCount};

/// The columns that [`key`] reads, of a table named `k`.
pub(super) const KEY_COLUMNS: &str = "k.id, k.api_key, k.usage_count, k.last_used, k.is_active, k.resting_until,
    (SELECT count(*) FROM leases WHERE leases.key = k.id),
    (SELECT min(expires_at) FROM leases WHERE leases.key = k.id)";

/// Reads [`KEY_COLUMNS`].
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
