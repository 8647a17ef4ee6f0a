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
        let fields = document::projection();
        let found = store.keys(pool).find_one(its_id.clone()).projection(fields).max_time(store.time_limit).await;
        let found = found.and_then(|found| found.map(document::lossy).transpose()).map_err(error::of_read)?;
        let Some(found) = found else { return Ok(KeptAnew::UnknownKey) };
        let stored = document::stored(&found);
        let opened = stored.ok_or(NotOpened::NoSecret).and_then(|stored| store.vault.open_anew(pool, id, stored));
        let secret = match opened {
            Ok(secret) => secret,
            Err(why) => {
                give_up(store, pool, &found, why, doc! {}).await?;
                return Ok(KeptAnew::NotOpened(why));
            }
        };
        let is_given_up = stored.is_some_and(|stored| stored.is_given_up());
        let kept = keeping.of(&store.vault, pool, id, &secret, document::sealed_by(&found), is_given_up);
        let Some(kept) = kept else { return Ok(KeptAnew::AsItWas) };
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

/// Remembers which bytes did not decrypt: others in their place are looked at anew.
async fn give_up(
    store: &MongoStore,
    pool: &Policy,
    document: &Document,
    why: NotOpened,
    undo: Document,
) -> Result<(), StoreError> {
    let its_id = doc! {"_id": document.get("_id")};
    // Another instance may have the key.
    if let (NotOpened::Unreadable, Some(sealed)) = (why, document::binary_in(document, "sealed")) {
        let is_new = doc! {"$and": [
            {"$eq": ["$sealed", sealed.clone()]}, {"$ne": ["$unreadable", sealed.clone()]},
        ]};
        let mut as_found = its_id.clone();
        as_found.insert("$expr", is_new);
        let mark = vec![doc! {"$set": {"unreadable": sealed.clone()}}];
        let marked = store.change(pool, as_found, mark, None, doc! {"_id": 1}).await.map_err(error::of_write)?;
        if let Some(id) = marked.as_ref().and_then(document::id) {
            why.tell(pool, id);
        }
    }
    if undo.is_empty() {
        return Ok(());
    }
    let given_up = store.change(pool, its_id, vec![doc! {"$set": undo}], None, doc! {"_id": 1}).await;
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
/// [`StoreError::Unusable`] where one is another key than was recorded, or where the pool is encrypted and there are none.
pub(super) async fn prepare(store: &MongoStore, pool: &Policy) -> Result<(), StoreError> {
    let meta = store.meta().clone_with_type::<Document>();
    for (name, fingerprint, _) in store.vault.recorded() {
        let record = doc! {"_id": name, "fingerprint": fingerprint};
        // By an insert, which is refused where another instance was quicker: an upsert may overwrite it.
        match error::again_after_conflicts(|| async { meta.insert_one(&record).await }).await {
            Err(error) if error::is_duplicate(&error) => {}
            recorded => drop(recorded.map_err(error::of_write)?),
        }
    }
    match wrong_keys(store, pool).await?.pop() {
        Some(why) => Err(StoreError::Unusable(why)),
        None => Ok(()),
    }
}

/// What to say of a key of this instance that is another one than the store knows by its name, and of a pool that is
/// encrypted where there are no keys.
pub(super) async fn wrong_keys(store: &MongoStore, pool: &Policy) -> Result<Vec<String>, StoreError> {
    let mut wrong = Vec::new();
    if !store.vault.has_keys() {
        // A range of the index on it, which holds texts from "" on: the query says so as well.
        let sealed = doc! {"api_key": {"$gte": vault::RANGE[0], "$lt": vault::RANGE[1], "$gt": ""}};
        let found = store.keys(pool).find_one(sealed).projection(doc! {"_id": 1}).max_time(store.time_limit).await;
        wrong.extend(found.map_err(error::of_read)?.map(|_| vault::no_keys(pool)));
    }
    for (name, fingerprint, setting) in store.vault.recorded() {
        let known = store.meta().find_one(doc! {"_id": &name}).max_time(store.time_limit).await;
        let known = known.and_then(|known| known.map(document::lossy).transpose()).map_err(error::of_read)?;
        let is_other = |known: Document| known.get("fingerprint") != Some(&Bson::String(fingerprint));
        wrong.extend(known.is_some_and(is_other).then(|| vault::other_key(&name, setting)));
    }
    Ok(wrong)
}
