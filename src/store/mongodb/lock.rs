//! lock and unlock: one instance at a time does what must not be done by two, until its lock ends.

use std::time::Duration;

use bson::{Document, doc};

use super::{MongoStore, error, expression};
use crate::store::StoreError;

pub(super) async fn lock(store: &MongoStore, name: &str, owner: &str, lasts: Duration) -> Result<bool, StoreError> {
    let meta = store.meta();
    // The server's clock, read before: that it is a little old lets nobody have the lock too early.
    let now = store.now().await?;
    let has_ended = doc! {"ends_at": {"$not": {"$gt": expression::date(now)}}};
    let free = doc! {"_id": record(name), "$or": [{"owner": owner}, has_ended]};
    let own = doc! {"owner": owner, "ends_at": expression::date(now.plus(lasts))};
    let set = doc! {"$set": own.clone()};
    let taken = error::again_after_conflicts(|| async { meta.update_one(free.clone(), set.clone()).await });
    if taken.await.map_err(error::of_write)?.matched_count > 0 {
        return Ok(true);
    }
    // Made by an insert of its own: of two upserts at the same moment, the compatible server lets one overwrite the other.
    let mut first = doc! {"_id": record(name)};
    first.extend(own);
    let meta = meta.clone_with_type::<Document>();
    match error::again_after_conflicts(|| async { meta.insert_one(&first).await }).await {
        Ok(_) => Ok(true),
        // It is there and not free.
        Err(error) if error::is_duplicate(&error) => Ok(false),
        Err(error) => Err(error::of_write(error)),
    }
}

pub(super) async fn unlock(store: &MongoStore, name: &str, owner: &str) -> Result<(), StoreError> {
    let meta = store.meta();
    let own = doc! {"_id": record(name), "owner": owner};
    let ended = error::again_after_conflicts(|| async { meta.delete_one(own.clone()).await });
    ended.await.map(|_| ()).map_err(error::of_write)
}

fn record(name: &str) -> String {
    format!("lock:{name}")
}
