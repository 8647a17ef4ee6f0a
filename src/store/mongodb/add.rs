//! add: new keys, in the order given.

use bson::{Bson, Document, doc, oid::ObjectId};
use mongodb::error::ErrorKind;
use mongodb::options::ReturnDocument;

use super::{AddedKeys, META, MongoStore, error, expression};
use crate::domain::{KeyId, NewKey, Picks, Policy};
use crate::store::{Added, StoreError};

/// The code of a duplicate in a unique index.
const DUPLICATE_KEY: i32 = 11000;

pub(super) async fn add(store: &MongoStore, pool: &Policy, keys: &[NewKey]) -> Result<AddedKeys, StoreError> {
    if keys.is_empty() {
        return Ok(AddedKeys { verdicts: Vec::new(), race_proof: true });
    }
    let now = store.now().await?;
    let first = match pool.picks {
        Picks::LeastRecentlyUsed => None,
        Picks::InOrder => Some(reserve_places(store, pool, keys.len()).await?),
    };
    let ids: Vec<ObjectId> = keys.iter().map(|_| ObjectId::new()).collect();
    let documents = keys.iter().zip(&ids).zip(0..).map(|((key, id), place)| {
        let mut document = doc! {
            "_id": id, "api_key": key.secret.expose(), "usage_count": 0, "last_used": Bson::Null, "is_active": true,
            "added_at": expression::date(now),
        };
        if let Some(first) = first {
            document.insert("order", first + place);
        }
        document
    });
    let documents: Vec<Document> = documents.collect();
    let mut added: Vec<Added> = ids.iter().map(|id| Added::New(KeyId::from_bytes(id.bytes()))).collect();
    match store.keys(pool).clone_with_type::<Document>().insert_many(documents).ordered(false).await {
        Ok(_) => Ok(AddedKeys { verdicts: added, race_proof: true }),
        Err(error) => {
            let only_known = match *error.kind {
                ErrorKind::InsertMany(ref insert) if insert.write_concern_error.is_none() => {
                    let refused = insert.write_errors.as_deref().unwrap_or_default();
                    for duplicate in refused {
                        if let Some(verdict) = added.get_mut(duplicate.index) {
                            *verdict = Added::Known;
                        }
                    }
                    !refused.is_empty() && refused.iter().all(|error| error.code == DUPLICATE_KEY)
                }
                _ => false,
            };
            if only_known { Ok(AddedKeys { verdicts: added, race_proof: true }) } else { Err(error::of_write(error)) }
        }
    }
}

/// Takes the next places in the pool's order from its counter; answers the first.
async fn reserve_places(store: &MongoStore, pool: &Policy, places: usize) -> Result<i64, StoreError> {
    let places = i64::try_from(places).unwrap_or(i64::MAX);
    let meta = store.database.collection::<Document>(META);
    let counter = doc! {"_id": format!("order:{}", pool.collection)};
    let after = error::again_after_conflicts(|| async {
        meta.find_one_and_update(counter.clone(), doc! {"$inc": {"next": places}})
            .upsert(true)
            .return_document(ReturnDocument::After)
            .await
    })
    .await
    .map_err(error::of_write)?;
    let next = after.and_then(|counter| counter.get_i64("next").ok());
    next.map(|next| next - places)
        .ok_or_else(|| StoreError::Refused("the counter of the pool's order is no number".into()))
}
