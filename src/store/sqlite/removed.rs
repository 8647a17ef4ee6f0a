//! Keys that an operator took out of a pool while its key file still has them.

use super::Step;
use crate::domain::{Policy, Secret};
use crate::store::removed::{name, names};

/// Keeps the file from bringing back the key that was kept under this text.
pub(super) fn remember(step: &Step<'_>, pool: &Policy, api_key: &str) -> rusqlite::Result<()> {
    step.tx
        .prepare_cached("INSERT OR REPLACE INTO keylend_meta (name, value) VALUES (?1, ?2)")?
        .execute((name(pool, api_key), step.now.as_millis()))
        .map(|_| ())
}

/// Whether the file is kept from bringing it.
pub(super) fn is_removed(step: &Step<'_>, pool: &Policy, secret: &Secret) -> rusqlite::Result<bool> {
    let mut find = step.tx.prepare_cached("SELECT 1 FROM keylend_meta WHERE name = ?1")?;
    for name in names(step.vault, pool, secret) {
        if find.exists([name])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The pool has the key again.
pub(super) fn forget(step: &Step<'_>, pool: &Policy, secret: &Secret) -> rusqlite::Result<()> {
    let mut forget = step.tx.prepare_cached("DELETE FROM keylend_meta WHERE name = ?1")?;
    for name in names(step.vault, pool, secret) {
        forget.execute([name])?;
    }
    Ok(())
}
