//! keep_anew: the secret of a key as its operator wants it kept, encrypted or not; and what becomes of a key whose secret
//! cannot be read.

use bson::{Bson, Document, doc};

use super::{MongoStore, document, error, expression, filter};
use crate::domain::{KeyId, KeyRef, Policy, Secret};
use crate::store::vault::{self, Kept, NotOpened};
use crate::store::{Keeping, KeptAnew, StoreError};

/// How often a secret is read again that was changed meanwhile.
const TRIES: u32 = 4;

pub(super) async fn keep_anew(
    store: &MongoStore,
    pool: &Policy,
    id: KeyId,
    keeping: Keeping,
) -> Result<KeptAnew, StoreError> {
    let its_id = doc! {"_id": filter::object_id(id)};
    for _ in 0..TRIES {
        let fields = document::secret_fields();
        let found = store.keys(pool).find_one(its_id.clone()).projection(fields).max_time(store.time_limit).await;
        let found = found.and_then(|found| found.map(document::lossy).transpose()).map_err(error::of_read)?;
        let Some(found) = found else { return Ok(KeptAnew::UnknownKey) };
        let secret = match document::secret(&store.vault, pool, &found) {
            Ok(secret) => secret,
            Err(why) => {
                give_up(store, pool, &found, why, doc! {}).await?;
                return Ok(KeptAnew::NotOpened(why));
            }
        };
        let by = document::sealed_by(&found);
        let Some(kept) = keeping.of(&store.vault, pool, id, &secret, by) else { return Ok(KeptAnew::AsItWas) };
        // The index keeps one text from being there twice; the other one that the secret can have is looked for.
        if has_twin(store, pool, id, &secret).await? {
            return Ok(KeptAnew::Twin);
        }
        if replace(store, pool, &found, &kept).await? {
            return Ok(KeptAnew::Changed);
        }
    }
    Err(StoreError::Away("the key was changed by others whenever it was to be kept anew".into()))
}

/// Writes a kept secret over the one that was found. False = that is not there any more.
async fn replace(store: &MongoStore, pool: &Policy, found: &Document, kept: &Kept) -> Result<bool, StoreError> {
    // As a whole: a list can hold the same.
    let is = |field: &str| doc! {"$eq": [format!("${field}"), {"$literal": found.get(field).cloned()}]};
    let mut rule = vec![is("api_key")];
    if document::sealed_by(found).is_some() {
        rule.push(is("sealed"));
    }
    let as_found = doc! {"_id": found.get("_id"), "$expr": {"$and": rule}};
    let update = vec![doc! {"$set": document::kept(kept)}];
    let replaced = store.change(pool, as_found, update, None, doc! {"_id": 1}).await.map_err(error::of_write)?;
    Ok(replaced.is_some())
}

/// Whether another document has the secret, under whichever text.
pub(super) async fn has_twin(
    store: &MongoStore,
    pool: &Policy,
    id: KeyId,
    secret: &Secret,
) -> Result<bool, StoreError> {
    let mut twin = filter::key(&store.vault, pool, &KeyRef::Secret(secret.clone()));
    twin.insert("_id", doc! {"$ne": filter::object_id(id)});
    let found = store.keys(pool).find_one(twin).projection(doc! {"_id": 1}).max_time(store.time_limit).await;
    Ok(found.map_err(error::of_read)?.is_some())
}

/// The secret of a document that is handed out. None = it cannot be read: the key is not picked again as long as that is
/// so, and `undo`, fields to set, takes back what was done to it.
pub(super) async fn opened(
    store: &MongoStore,
    pool: &Policy,
    document: &Document,
    undo: Document,
) -> Result<Option<Secret>, StoreError> {
    match document::secret(&store.vault, pool, document) {
        Ok(secret) => Ok(Some(secret)),
        Err(why) => give_up(store, pool, document, why, undo).await.map(|()| None),
    }
}

/// Remembers which bytes were no secret: others in their place are looked at anew.
async fn give_up(
    store: &MongoStore,
    pool: &Policy,
    document: &Document,
    why: NotOpened,
    undo: Document,
) -> Result<(), StoreError> {
    let mut fields = undo;
    if let (NotOpened::Unreadable, Some(sealed)) = (why, document::sealed(document)) {
        let is_it = doc! {"$eq": ["$sealed", sealed.clone()]};
        fields.insert("unreadable", doc! {"$cond": [is_it, sealed.clone(), "$unreadable"]});
        document::id(document).into_iter().for_each(|id| why.tell(pool, id));
    }
    if fields.is_empty() {
        return Ok(());
    }
    let its_id = doc! {"_id": document.get("_id")};
    let given_up = store.change(pool, its_id, vec![doc! {"$set": fields}], None, doc! {"_id": 1}).await;
    given_up.map(|_| ()).map_err(error::of_write)
}

/// What takes these leases back.
pub(super) fn without(names: &[String]) -> Document {
    let is_other = doc! {"$not": [{"$in": ["$$lease.id", {"$literal": names}]}]};
    doc! {"leases": {"$filter": {"input": expression::leases(), "as": "lease", "cond": is_other}}}
}

/// Records the keys for secrets, each by what tells nothing of it.
///
/// # Errors
/// [`StoreError::Unusable`] where one is another key than was recorded.
pub(super) async fn record_keys(store: &MongoStore) -> Result<(), StoreError> {
    let meta = store.meta();
    for (name, fingerprint, setting) in store.vault.recorded() {
        let its_name = doc! {"_id": &name};
        let set = doc! {"$setOnInsert": {"fingerprint": &fingerprint}};
        let recorded = error::again_after_conflicts(|| async {
            meta.update_one(its_name.clone(), set.clone()).upsert(true).await
        });
        match recorded.await {
            // Another instance was quicker.
            Err(error) if error::is_duplicate(&error) => {}
            recorded => drop(recorded.map_err(error::of_write)?),
        }
        let known = meta.find_one(its_name).max_time(store.time_limit).await;
        let known = known.and_then(|known| known.map(document::lossy).transpose()).map_err(error::of_read)?;
        if known.as_ref().and_then(|known| known.get("fingerprint")) != Some(&Bson::String(fingerprint)) {
            return Err(StoreError::Unusable(vault::other_key(&name, setting)));
        }
    }
    Ok(())
}
