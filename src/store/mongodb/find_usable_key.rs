//! find_usable_key: pick and stamp, reserve nothing.

use bson::{Document, doc};

use super::expression::NOW;
use super::{FoundKey, MongoStore, document, error, filter, look_up};
use crate::domain::{Key, Policy};
use crate::store::{Seen, StoreError};

/// How often the first key is read again that others spent just then.
const TRIES: u32 = 4;

pub(super) async fn find_usable_key(
    store: &MongoStore,
    pool: &Policy,
    uses_per_key: u32,
) -> Result<Option<FoundKey>, StoreError> {
    let stamp = vec![doc! {"$set": {"last_used": NOW}}];
    let fields = doc! {"api_key": 1, "usage_count": 1, "last_used": 1};
    let found = store.pick(pool, uses_per_key, doc! {}, stamp, fields).await.map_err(error::of_write)??;
    found
        .map(|document| {
            let (id, secret, usage_count, last_used) = document::handed_out(&document, "last_used")?;
            Ok(FoundKey { id, secret, usage_count, last_used })
        })
        .transpose()
}

pub(super) async fn peek_usable_key(
    store: &MongoStore,
    pool: &Policy,
    uses_per_key: u32,
) -> Result<Option<Seen<Key>>, StoreError> {
    // Alone it needs no look at the cool keys first: they are the first of the order anyway.
    let usable = filter::usable(uses_per_key, false);
    if store.merges().await? {
        return peek(store, pool, usable).await;
    }
    for _ in 0..TRIES {
        let Some(first) = store.first(pool, uses_per_key, &doc! {}, 1, 1).await?.pop() else { return Ok(None) };
        let mut still_usable = usable.clone();
        still_usable.insert("_id", first.id);
        let seen = peek(store, pool, still_usable).await?;
        if seen.is_some() {
            return Ok(seen);
        }
    }
    peek(store, pool, usable).await
}

/// The first of these, as it is.
async fn peek(store: &MongoStore, pool: &Policy, usable: Document) -> Result<Option<Seen<Key>>, StoreError> {
    let first = store
        .keys(pool)
        .find_one(usable)
        .sort(filter::order(pool.picks))
        .projection(document::projection())
        .max_time(store.time_limit)
        .await
        .map_err(error::of_read)?;
    Ok(first.and_then(|first| look_up::seen(&document::lossy(first).ok()?)))
}
