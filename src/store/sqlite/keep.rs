//! keep_anew: the secret of a key as its operator wants it kept, encrypted or not; and how a kept secret is written and
//! given up.

use rusqlite::OptionalExtension;
use rusqlite::types::Type;

use super::change::has_twin;
use super::{Step, row};
use crate::domain::secret::STANDS_FOR;
use crate::domain::{KeyId, Policy, Secret};
use crate::store::vault::{Kept, NotOpened, Vault};
use crate::store::{Keeping, KeptAnew};

pub(super) fn keep_anew(step: &Step<'_>, pool: &Policy, id: KeyId, keeping: Keeping) -> rusqlite::Result<KeptAnew> {
    let found = step
        .tx
        .prepare_cached(&format!(
            "SELECT api_key, sealed, sealed_by, unreadable FROM \"{}\" WHERE id = ?1",
            pool.collection
        ))?
        .query_row([id.to_string()], |found| {
            let mut is_given_up = false;
            let secret = row::stored(found, COLUMNS, |stored| {
                is_given_up = stored.is_given_up();
                step.vault.open_anew(pool, id, stored)
            })?;
            Ok((secret, row::sealed_by(found, [0, 2])?, is_given_up))
        })
        .optional()?;
    let Some((secret, by, is_given_up)) = found else { return Ok(KeptAnew::UnknownKey) };
    let secret = match secret {
        Ok(secret) => secret,
        Err(why) => {
            give_up(step, pool, id, why)?;
            return Ok(KeptAnew::NotOpened(why));
        }
    };
    let kept = keeping.of(step.vault, pool, id, &secret, by.as_deref(), is_given_up);
    let Some(kept) = kept else { return Ok(KeptAnew::AsItWas) };
    if has_twin(step, pool, id, &secret)? {
        return Ok(KeptAnew::Twin);
    }
    write(step, pool, id, &kept)?;
    Ok(KeptAnew::Changed)
}

/// What stands in `api_key` of a key that is there.
pub(super) fn api_key(step: &Step<'_>, pool: &Policy, id: KeyId) -> rusqlite::Result<String> {
    step.tx
        .prepare_cached(&format!("SELECT api_key FROM \"{}\" WHERE id = ?1", pool.collection))?
        .query_row([id.to_string()], |found| Ok(String::from_utf8_lossy(found.get_ref(0)?.as_bytes()?).into_owned()))
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

/// The secret of a key that is picked, and its count. None = it does not decrypt: it is told of, and not picked again as
/// long as that is so.
pub(super) fn read(step: &Step<'_>, pool: &Policy, id: KeyId) -> rusqlite::Result<Option<(Secret, u64)>> {
    let (secret, count) = step
        .tx
        .prepare_cached(&format!(
            "SELECT api_key, sealed, sealed_by, unreadable, usage_count FROM \"{}\" WHERE id = ?1",
            pool.collection
        ))?
        .query_row([id.to_string()], |found| {
            Ok((row::stored(found, COLUMNS, |stored| step.vault.open(pool, id, stored))?, found.get(4)?))
        })?;
    match secret {
        Ok(secret) => Ok(Some((secret, count))),
        Err(NotOpened::Unreadable) => give_up(step, pool, id, NotOpened::Unreadable).map(|()| None),
        // The table's own check lets no other text in, and the pick passes what cannot be opened by.
        Err(why) => Err(rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(why))),
    }
}

/// Remembers which bytes did not decrypt: others in their place are looked at anew.
pub(super) fn give_up(step: &Step<'_>, pool: &Policy, id: KeyId, why: NotOpened) -> rusqlite::Result<()> {
    // Another instance may have the key.
    if why != NotOpened::Unreadable {
        return Ok(());
    }
    let given_up = step
        .tx
        .prepare_cached(&format!(
            "UPDATE \"{}\" SET unreadable = sealed WHERE id = ?1 AND unreadable IS NOT sealed",
            pool.collection
        ))?
        .execute([id.to_string()])?;
    if given_up > 0 {
        why.tell(pool, id);
    }
    Ok(())
}

/// The columns of a stored secret where they come first.
const COLUMNS: [usize; 4] = [0, 1, 2, 3];

/// Whether the secret of the row `k` can be opened, as far as can be told without doing it.
pub(super) fn openable(vault: &Vault) -> String {
    // Letters, digits, - and _ alone.
    let names: Vec<String> = vault.names().map(|name| format!("'{name}'")).collect();
    format!(
        "(k.api_key NOT GLOB '{STANDS_FOR}*' OR (k.sealed IS NOT NULL AND k.sealed IS NOT k.unreadable
             AND k.sealed_by IN ({})))",
        names.join(", ")
    )
}
