//! add: new keys, in the order given.

use std::collections::HashSet;

use bson::{Bson, Document, doc, oid::ObjectId};
use mongodb::error::ErrorKind;
use mongodb::options::ReturnDocument;

use super::{AddedKeys, META, MongoStore, document, error, expression, filter, index, known, removed};
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::{KeyId, NewKey, Picks, Policy, Timestamp};
use crate::store::vault::Kept;
use crate::store::{Added, StoreError};

/// The code of a duplicate in a unique index.
const DUPLICATE_KEY: i32 = 11000;

pub(super) async fn add(store: &MongoStore, pool: &Policy, keys: &[NewKey]) -> Result<AddedKeys, StoreError> {
    let added = add_new(store, pool, keys).await?;
    let new = keys.iter().zip(&added.verdicts).filter(|(_, verdict)| **verdict != Added::Known);
    removed::forget(store, pool, new.map(|(key, _)| &key.secret)).await?;
    Ok(added)
}

/// Adds keys of which none was removed before. It forgets none as removed: one that is removed while others are still
/// added stays so.
pub(super) async fn add_new(store: &MongoStore, pool: &Policy, keys: &[NewKey]) -> Result<AddedKeys, StoreError> {
    if keys.is_empty() {
        return Ok(AddedKeys { verdicts: Vec::new(), race_proof: true });
    }
    // Asked anew each time: another program can make or drop the index while this one runs.
    let race_proof = index::keeps_secrets_unique(store, pool).await?;
    // The index keeps no secret out under the other text that it can have.
    let looks = !race_proof || store.vault.has_two_texts();
    let there = if looks { known::known(store, pool, keys).await? } else { vec![false; keys.len()] };
    let mut seen = HashSet::new();
    let now = store.now().await?;
    let first = match pool.picks {
        Picks::LeastRecentlyUsed => None,
        Picks::InOrder => Some(reserve_places(store, pool, keys.len()).await?),
    };
    let mut verdicts = vec![Added::Known; keys.len()];
    // The documents to insert, and for each the key that it is of.
    let mut documents = Vec::with_capacity(keys.len());
    let mut of_key = Vec::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        if looks && (there[place] || !seen.insert(key.secret.expose())) {
            continue;
        }
        let id = key.id.map_or_else(ObjectId::new, filter::object_id);
        let key_id = KeyId::from_bytes(id.bytes());
        let kept = store.vault.keep(pool, key_id, &key.secret);
        documents.push(stored(key, id, kept, first.map(|first| first + place as i64), now));
        of_key.push(place);
        verdicts[place] = Added::New(key_id);
    }
    for refused in insert(store, pool, documents).await? {
        if let Some(place) = of_key.get(refused) {
            verdicts[*place] = Added::Known;
        }
    }
    Ok(AddedKeys { verdicts, race_proof })
}

/// The document of a new key. Fields without a value are left out, but for those that the older programs write.
pub fn stored(key: &NewKey, id: ObjectId, kept: Kept, order: Option<i64>, now: Timestamp) -> Document {
    let (sealed, sealed_by) = kept.sealed.unzip();
    let mut document = doc! {
        "_id": id,
        "api_key": kept.api_key,
        "usage_count": key.usage_count.min(MAX_USAGE_COUNT) as i64,
        "last_used": key.last_used.map_or(Bson::Null, expression::date),
        "is_active": key.is_active,
        "added_at": expression::date(key.added_at.unwrap_or(now)),
    };
    let more = [
        ("resting_until", key.resting_until.map(expression::date)),
        ("disabled_reason", key.disabled_reason.map(|reason| reason.as_str().into())),
        ("note", key.note.as_deref().map(Bson::from)),
        ("order", order.map(Bson::Int64)),
        ("from_file", key.from_file.then_some(Bson::Boolean(true))),
        ("sealed", sealed.as_deref().map(document::binary)),
        ("sealed_by", sealed_by.map(Bson::from)),
    ];
    document.extend(more.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
    document
}

/// Inserts documents, and answers which of them, by number, a unique index refused.
async fn insert(store: &MongoStore, pool: &Policy, documents: Vec<Document>) -> Result<Vec<usize>, StoreError> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let inserted = store.keys(pool).clone_with_type::<Document>().insert_many(documents).ordered(false).await;
    let Err(error) = inserted else { return Ok(Vec::new()) };
    if let ErrorKind::InsertMany(ref insert) = *error.kind
        && insert.write_concern_error.is_none()
    {
        let refused = insert.write_errors.as_deref().unwrap_or_default();
        if !refused.is_empty() && refused.iter().all(|error| error.code == DUPLICATE_KEY) {
            return Ok(refused.iter().map(|error| error.index).collect());
        }
    }
    Err(error::of_write(error))
}

/// Takes the next places in the pool's order from its counter; answers the first.
async fn reserve_places(store: &MongoStore, pool: &Policy, places: usize) -> Result<i64, StoreError> {
    let places = i64::try_from(places).unwrap_or(i64::MAX);
    let meta = store.database.collection::<Document>(META);
    let counter = doc! {"_id": format!("order:{}", pool.collection)};
    let after = loop {
        let after = error::again_after_conflicts(|| async {
            meta.find_one_and_update(counter.clone(), doc! {"$inc": {"next": places}})
                .return_document(ReturnDocument::After)
                .await
        });
        if let Some(after) = after.await.map_err(error::of_write)? {
            break after;
        }
        // Made by an insert of its own: of two upserts at the same moment, the compatible server lets one overwrite what
        // the other has counted.
        let mut first = counter.clone();
        first.insert("next", 0_i64);
        match error::again_after_conflicts(|| async { meta.insert_one(&first).await }).await {
            Err(error) if error::is_duplicate(&error) => {}
            made => drop(made.map_err(error::of_write)?),
        }
    };
    let next = after.get_i64("next").ok();
    next.map(|next| next - places)
        .ok_or_else(|| StoreError::Refused("the counter of the pool's order is no number".into()))
}
