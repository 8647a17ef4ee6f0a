//! list: a page of keys, by id.

use bson::{RawDocumentBuf, doc, oid::ObjectId};
use futures_util::TryStreamExt;

use super::{MongoStore, document, error, filter};
use crate::domain::{Key, KeyId, Policy};
use crate::store::{Seen, StoreError};

pub(super) async fn list(
    store: &MongoStore,
    pool: &Policy,
    after: Option<KeyId>,
    limit: u32,
) -> Result<Seen<Vec<Key>>, StoreError> {
    let now = store.now().await?;
    // For the server, a limit of 0 is no limit.
    if limit == 0 {
        return Ok(Seen { value: Vec::new(), now });
    }
    // Comparing with an ObjectId matches ObjectIds only: documents with another id have none that names them.
    let page = match after {
        Some(after) => doc! {"_id": {"$gt": filter::object_id(after)}},
        None => doc! {"_id": {"$gte": ObjectId::from_bytes([0; 12])}},
    };
    let found = store
        .keys(pool)
        .find(page)
        .sort(doc! {"_id": 1})
        .limit(i64::from(limit))
        .projection(document::projection())
        .max_time(store.time_limit)
        .await
        .map_err(error::of_read)?;
    let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(error::of_read)?;
    let keys = found.into_iter().filter_map(|document| document::key(&document::lossy(document).ok()?));
    Ok(Seen { value: keys.collect(), now })
}
