//! A row as a key, and the texts and numbers of the domain as SQLite keeps them.

use rusqlite::types::Type;
use rusqlite::{Error, Row};

use super::Step;
use crate::domain::secret::STANDS_FOR;
use crate::domain::{DisabledReason, Key, KeyId, KeyRecord, OpenLease, Policy, Timestamp, UsageCount, Verified};
use crate::store::vault::{NotOpened, Stored};

/// The columns that [`key`] reads, of the pool's table as `k`.
pub(super) fn key_columns(pool: &Policy) -> String {
    let leases = leases(pool);
    format!(
        "k.id, k.api_key, k.usage_count, k.last_used, k.is_active, k.resting_until,
         (SELECT count(*) {leases}), (SELECT min(expires_at) {leases}), k.sealed, k.sealed_by, k.unreadable"
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
        key: key(step, pool, row)?,
        order: row.get(11)?,
        leases: Vec::new(),
        disabled_reason: text(row, 12)?.as_deref().and_then(DisabledReason::of_word),
        note: text(row, 13)?,
        added_at: instant(row, 14)?,
        from_file: row.get(15)?,
        verified: Verified::of(instant(row, 16)?, text(row, 17)?.as_deref(), row.get(18)?),
        sealed_by: sealed_by(row, [1, 9])?,
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

/// The name of the key that a secret is encrypted with, by the columns of `api_key` and `sealed_by`; None = it is not.
pub(super) fn sealed_by(row: &Row<'_>, [api_key, sealed_by]: [usize; 2]) -> rusqlite::Result<Option<String>> {
    let is_sealed = row.get_ref(api_key)?.as_bytes()?.starts_with(STANDS_FOR.as_bytes());
    if is_sealed { text(row, sealed_by) } else { Ok(None) }
}

/// Reads [`key_columns`].
pub(super) fn key(step: &Step<'_>, pool: &Policy, row: &Row<'_>) -> rusqlite::Result<Key> {
    let id = id(row, 0)?;
    Ok(Key {
        id,
        secret: stored(row, [1, 8, 9, 10], |stored| step.vault.open(pool, id, stored))?.ok(),
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

/// What `open` makes of a stored secret, by the columns of `api_key`, `sealed`, `sealed_by` and `unreadable`.
pub(super) fn stored<T>(
    row: &Row<'_>,
    [api_key, sealed, sealed_by, unreadable]: [usize; 4],
    open: impl FnOnce(Stored<'_>) -> Result<T, NotOpened>,
) -> rusqlite::Result<Result<T, NotOpened>> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let Some(api_key) = text(row.get_ref(api_key)?.as_bytes()?) else { return Ok(Err(NotOpened::NoSecret)) };
    let bytes = |column: usize| -> rusqlite::Result<Option<&[u8]>> { Ok(row.get_ref(column)?.as_bytes_or_null()?) };
    let sealed_by = bytes(sealed_by)?.and_then(text);
    Ok(open(Stored { api_key, sealed: bytes(sealed)?, sealed_by, unreadable: bytes(unreadable)? }))
}

pub(super) fn instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}
