//! keep_anew: the secret of a key as its operator wants it kept, encrypted or not; and how a kept secret is written and
//! given up.

use rusqlite::OptionalExtension;

use super::change::has_twin;
use super::{Step, row};
use crate::domain::secret::STANDS_FOR;
use crate::domain::{KeyId, Policy, Secret};
use crate::store::vault::{Kept, NotOpened, Vault};
use crate::store::{Keeping, KeptAnew};

pub(super) fn keep_anew(step: &Step<'_>, pool: &Policy, id: KeyId, keeping: Keeping) -> rusqlite::Result<KeptAnew> {
    let found = step
        .tx
        .prepare_cached(&format!("SELECT api_key, sealed, sealed_by FROM \"{}\" WHERE id = ?1", pool.collection))?
        .query_row([id.to_string()], |found| {
            Ok((row::secret(step, pool, id, found, [0, 1, 2])?, row::sealed_by(found, [0, 2])?))
        })
        .optional()?;
    let Some((secret, by)) = found else { return Ok(KeptAnew::UnknownKey) };
    let secret = match secret {
        Ok(secret) => secret,
        Err(why) => {
            give_up(step, pool, id, why)?;
            return Ok(KeptAnew::NotOpened(why));
        }
    };
    let Some(kept) = keeping.of(step.vault, pool, id, &secret, by.as_deref()) else { return Ok(KeptAnew::AsItWas) };
    if has_twin(step, pool, id, &secret)? {
        return Ok(KeptAnew::Twin);
    }
    write(step, pool, id, &kept)?;
    Ok(KeptAnew::Changed)
}

/// Writes a kept secret over the one that is there.
pub(super) fn write(step: &Step<'_>, pool: &Policy, id: KeyId, kept: &Kept) -> rusqlite::Result<()> {
    let (sealed, sealed_by) = kept.sealed.as_ref().map(|(bytes, by)| (bytes, by)).unzip();
    step.tx
        .prepare_cached(&format!(
            "UPDATE \"{}\" SET api_key = ?2, sealed = ?3, sealed_by = ?4, unreadable = NULL WHERE id = ?1",
            pool.collection
        ))?
        .execute((id.to_string(), &kept.api_key, sealed, sealed_by))
        .map(|_| ())
}

/// The secret of a key that is picked, and its count. None = it has none that can be read: it is told of, and not picked
/// again as long as that is so.
pub(super) fn read(step: &Step<'_>, pool: &Policy, id: KeyId) -> rusqlite::Result<Option<(Secret, u64)>> {
    let (secret, count) = step
        .tx
        .prepare_cached(&format!(
            "SELECT api_key, sealed, sealed_by, usage_count FROM \"{}\" WHERE id = ?1",
            pool.collection
        ))?
        .query_row([id.to_string()], |found| Ok((row::secret(step, pool, id, found, [0, 1, 2])?, found.get(3)?)))?;
    match secret {
        Ok(secret) => Ok(Some((secret, count))),
        Err(why) => give_up(step, pool, id, why).map(|()| None),
    }
}

/// Remembers which bytes were no secret: others in their place are looked at anew.
pub(super) fn give_up(step: &Step<'_>, pool: &Policy, id: KeyId, why: NotOpened) -> rusqlite::Result<()> {
    // Another instance may have the key.
    if why == NotOpened::UnknownKey {
        return Ok(());
    }
    let given_up = step
        .tx
        .prepare_cached(&format!(
            "UPDATE \"{}\" AS k SET unreadable = {BYTES} WHERE k.id = ?1 AND k.unreadable IS NOT {BYTES}",
            pool.collection
        ))?
        .execute([id.to_string()])?;
    if given_up > 0 {
        why.tell(pool, id);
    }
    Ok(())
}

/// What is remembered of a row `k` that has no secret.
const BYTES: &str = "coalesce(k.sealed, CAST(k.api_key AS BLOB))";

/// Whether the secret of the row `k` can be read, as far as can be told without reading it.
pub(super) fn openable(vault: &Vault) -> String {
    // Letters, digits, - and _ alone.
    let names: Vec<String> = vault.names().map(|name| format!("'{name}'")).collect();
    format!(
        "(k.unreadable IS NULL OR k.unreadable <> {BYTES}) AND (k.api_key NOT GLOB '{STANDS_FOR}*'
             OR (k.sealed IS NOT NULL AND k.sealed_by IN ({})))",
        names.join(", ")
    )
}
