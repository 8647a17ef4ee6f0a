//! list: a page of keys, by id.

use bson::{RawDocumentBuf, doc, oid::ObjectId};
use futures_util::TryStreamExt;

use super::{MongoStore, Page, document, error, filter};
use crate::domain::{KeyRecord, Policy};
use crate::store::{Seen, StoreError};

pub(super) async fn list(store: &MongoStore, pool: &Policy, page: Page) -> Result<Seen<Vec<KeyRecord>>, StoreError> {
    let limit = page.limit;
    let now = store.now().await?;
    // For the server, a limit of 0 is no limit.
    if limit == 0 {
        return Ok(Seen { value: Vec::new(), now });
    }
    // Comparing with an ObjectId matches ObjectIds only: documents with another id have none that names them.
    let page = match page.after {
        Some(after) => doc! {"_id": {"$gt": filter::object_id(after.id)}},
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
    let records = keys.map(|key| KeyRecord {
        key,
        order: None,
        leases: Vec::new(),
        disabled_reason: None,
        note: None,
        added_at: None,
    });
    Ok(Seen { value: records.collect(), now })
}
