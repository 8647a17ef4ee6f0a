//! state_taken_over: that the older server's state was taken over into a pool, once and for all.

use bson::doc;

use super::{MongoStore, error, expression};
use crate::domain::Policy;
use crate::store::{StoreError, recorded};

pub(super) async fn is_recorded(store: &MongoStore, pool: &Policy) -> Result<bool, StoreError> {
    let its_name = doc! {"_id": recorded::state_taken_over(pool)};
    let found = store.meta().find_one(its_name).projection(doc! {"_id": 1}).max_time(store.time_limit).await;
    Ok(found.map_err(error::of_read)?.is_some())
}

pub(super) async fn record(store: &MongoStore, pool: &Policy) -> Result<(), StoreError> {
    let meta = store.meta();
    let its_name = doc! {"_id": recorded::state_taken_over(pool)};
    let set = doc! {"$setOnInsert": {"taken_over_at": expression::date(store.now().await?)}};
    let recorded =
        error::again_after_conflicts(|| async { meta.update_one(its_name.clone(), set.clone()).upsert(true).await });
    match recorded.await {
        // Another instance was quicker.
        Err(error) if error::is_duplicate(&error) => Ok(()),
        recorded => recorded.map(|_| ()).map_err(error::of_write),
    }
}
