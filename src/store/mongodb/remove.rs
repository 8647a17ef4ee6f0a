//! remove: take a key out of the pool.

use bson::doc;

use super::{MongoStore, error, filter, removed};
use crate::domain::{KeyId, Policy};
use crate::store::StoreError;

pub(super) async fn remove(store: &MongoStore, pool: &Policy, id: KeyId) -> Result<bool, StoreError> {
    removed::remember(store, pool, id, None).await?;
    let keys = store.keys(pool);
    let its_id = doc! {"_id": filter::object_id(id)};
    let removed = error::again_after_conflicts(|| async { keys.delete_one(its_id.clone()).await });
    Ok(removed.await.map_err(error::of_write)?.deleted_count > 0)
}
