//! find_usable_key: pick and stamp, reserve nothing.

use bson::{Document, doc};

use super::expression::NOW;
use super::{FoundKey, MongoStore, document, error, filter, keep, look_up};
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
    let mut fields = document::secret_fields();
    fields.extend(doc! {"usage_count": 1, "last_used": 1});
    loop {
        let found = store.pick(pool, uses_per_key, doc! {}, stamp.clone(), fields.clone()).await;
        let Some(found) = found.map_err(error::of_write)?? else { return Ok(None) };
        if let Some(secret) = keep::opened(store, pool, &found, doc! {}).await? {
            let (id, usage_count, last_used) = document::handed_out(&found, "last_used")?;
            return Ok(Some(FoundKey { id, secret, usage_count, last_used }));
        }
    }
}

pub(super) async fn peek_usable_key(
    store: &MongoStore,
    pool: &Policy,
    uses_per_key: u32,
) -> Result<Option<Seen<Key>>, StoreError> {
    // Alone it needs no look at the cool keys first: they are the first of the order anyway.
    let usable = filter::usable(&store.openable(), uses_per_key, false);
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
    Ok(first.and_then(|first| look_up::seen(store, pool, &document::lossy(first).ok()?)))
}
