//! bring and withdraw: the keys of a pool's key file come with their lines and go with them.
//!
//! Several commands, each of which can be repeated.

use bson::{Bson, Document, doc};

use super::{MongoStore, add, error, expression, filter, known, removed};
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::{DisabledReason, KeyId, KeyRef, NewKey, Policy};
use crate::store::removed::names;
use crate::store::{Added, Brought, StoreError};

pub(super) async fn bring(store: &MongoStore, pool: &Policy, keys: &[NewKey]) -> Result<Vec<Brought>, StoreError> {
    // In this order: a key that an operator removes meanwhile is remembered as removed before it goes, so it is seen
    // either here or there.
    let known = known::known(store, pool, keys).await?;
    let unknown = || keys.iter().zip(&known).filter(|(_, known)| !**known).map(|(key, _)| key);
    let removed = removed::among(store, pool, unknown().map(|key| &key.secret)).await?;
    let is_removed = |key: &NewKey| names(&store.vault, pool, &key.secret).iter().any(|name| removed.contains(name));
    let new: Vec<NewKey> = unknown().filter(|key| !is_removed(key)).cloned().collect();
    let mut added = add::add_new(store, pool, &new).await?.verdicts.into_iter();
    let mut verdicts = Vec::with_capacity(keys.len());
    for (key, known) in keys.iter().zip(&known) {
        verdicts.push(match known {
            true => Brought::Known,
            false if is_removed(key) => Brought::Removed,
            false => match added.next() {
                Some(Added::New(id)) => Brought::New(id),
                Some(Added::Known) | None => Brought::Known,
            },
        });
    }
    let theirs = keys.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Brought::Known);
    make_the_files(store, pool, theirs.map(|(key, _)| key)).await?;
    Ok(verdicts)
}

/// Makes keys that the pool has the file's.
async fn make_the_files(
    store: &MongoStore,
    pool: &Policy,
    theirs: impl Iterator<Item = &NewKey>,
) -> Result<(), StoreError> {
    let collection = store.keys(pool);
    let mut secrets = Vec::new();
    for key in theirs {
        secrets.extend(store.vault.texts(pool, &key.secret));
        if key.usage_count == 0 {
            continue;
        }
        // Those with a count first: it is told by the mark of the file whether it was taken.
        let set = vec![doc! {"$set": with_count(key.usage_count)}];
        let its_secret = filter::key(&store.vault, pool, &KeyRef::Secret(key.secret.clone()));
        error::again_after_conflicts(|| async { collection.update_one(its_secret.clone(), set.clone()).await })
            .await
            .map_err(error::of_write)?;
    }
    if secrets.is_empty() {
        return Ok(());
    }
    let is_text = doc! {"$eq": [{"$type": "$api_key"}, "string"]};
    let to_do = doc! {"$or": [{"$not": [expression::is_from_file()]}, expression::is_withdrawn()]};
    let them = doc! {"api_key": {"$in": secrets, "$gt": ""}, "$expr": {"$and": [is_text, to_do]}};
    let set = vec![doc! {"$set": as_the_files()}];
    let made = error::again_after_conflicts(|| async { collection.update_many(them.clone(), set.clone()).await });
    made.await.map(|_| ()).map_err(error::of_write)
}

fn as_the_files() -> Document {
    doc! {
        "is_active": {"$cond": [expression::is_withdrawn(), true, "$is_active"]},
        "disabled_reason": {"$cond": [expression::is_withdrawn(), "$$REMOVE", "$disabled_reason"]},
        "from_file": true,
    }
}

/// The same, with a count for a key that was never used and is not the file's yet.
fn with_count(count: u64) -> Document {
    let never_used = doc! {"$and": [
        {"$not": [expression::is_from_file()]},
        {"$eq": [expression::count(), 0]},
        expression::is_missing("last_used"),
        expression::has_leases_or_none(),
        {"$eq": [expression::open(), 0]},
    ]};
    let count = Bson::Int64(count.min(MAX_USAGE_COUNT) as i64);
    let mut fields = as_the_files();
    fields.insert("usage_count", doc! {"$cond": [never_used, count, "$usage_count"]});
    fields
}

pub(super) async fn withdraw(store: &MongoStore, pool: &Policy, ids: &[KeyId]) -> Result<u64, StoreError> {
    let collection = store.keys(pool);
    let ids: Vec<Bson> = ids.iter().map(|id| filter::object_id(*id).into()).collect();
    // An array that holds true would match the plain conditions as well.
    let rule = doc! {"$and": [{"$eq": ["$is_active", true]}, expression::is_from_file()]};
    let them = doc! {"_id": {"$in": ids}, "$expr": rule};
    let set = doc! {"$set": {"is_active": false, "disabled_reason": DisabledReason::RemovedFromFile.as_str()}};
    let withdrawn = error::again_after_conflicts(|| async { collection.update_many(them.clone(), set.clone()).await });
    Ok(withdrawn.await.map_err(error::of_write)?.modified_count)
}
