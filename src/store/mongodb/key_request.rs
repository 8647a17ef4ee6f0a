//! request_key, key_requests, close_key_requests: what people were asked for.

use bson::{Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;

use super::{MongoStore, document, error, expression};
use crate::domain::{KeyRequest, Policy, RequestId};
use crate::store::StoreError;
use crate::store::recorded::{key_request, key_requests};

pub(super) async fn request(store: &MongoStore, pool: &Policy, id: &RequestId, by: &str) -> Result<bool, StoreError> {
    let meta = store.meta().clone_with_type::<Document>();
    let now = expression::date(store.now().await?);
    let asked = doc! {"_id": key_request(pool, id), "by": by, "asked_at": now};
    // By an insert, which is refused where another instance was quicker: of two upserts, the compatible server calls both
    // new.
    match error::again_after_conflicts(|| async { meta.insert_one(&asked).await }).await {
        Ok(_) => Ok(true),
        Err(error) if error::is_duplicate(&error) => Ok(false),
        Err(error) => Err(error::of_write(error)),
    }
}

pub(super) async fn list(store: &MongoStore, pool: &Policy) -> Result<Vec<KeyRequest>, StoreError> {
    let found = store.meta().find(of(pool)).max_time(store.time_limit).await.map_err(error::of_read)?;
    let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(error::of_read)?;
    let mut open: Vec<KeyRequest> = found.into_iter().filter_map(|found| open_request(pool, found)).collect();
    open.sort_by(|one, other| (one.asked_at, &one.id).cmp(&(other.asked_at, &other.id)));
    Ok(open)
}

pub(super) async fn count(store: &MongoStore, pool: &Policy) -> Result<u64, StoreError> {
    store.meta().count_documents(of(pool)).max_time(store.time_limit).await.map_err(error::of_read)
}

pub(super) async fn close(store: &MongoStore, pool: &Policy, ids: &[RequestId]) -> Result<u64, StoreError> {
    let meta = store.meta();
    let mut closed = 0;
    // One by one: each is retried by the driver, and told of once.
    for id in ids {
        let its_name = doc! {"_id": key_request(pool, id)};
        let gone = error::again_after_conflicts(|| async { meta.delete_one(its_name.clone()).await });
        closed += gone.await.map_err(error::of_write)?.deleted_count;
    }
    Ok(closed)
}

/// All requests of the pool.
fn of(pool: &Policy) -> Document {
    let prefix = key_requests(pool);
    doc! {"_id": {"$gt": &prefix, "$lt": format!("{prefix}~")}}
}

/// A request as it is kept; None for what keylend did not write.
fn open_request(pool: &Policy, found: RawDocumentBuf) -> Option<KeyRequest> {
    let found: Document = document::lossy(found).ok()?;
    Some(KeyRequest {
        id: found.get_str("_id").ok()?.strip_prefix(&key_requests(pool))?.parse().ok()?,
        by: found.get_str("by").ok()?.to_owned(),
        asked_at: document::instant(found.get("asked_at"))?,
    })
}
