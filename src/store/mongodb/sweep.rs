//! sweep: settle the lapsed leases of a pool, one document at a time.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::options::ReturnDocument;

use super::{MongoStore, document, error, expression};
use crate::domain::{IdempotencyDigest, Policy, Timestamp};
use crate::store::StoreError;

/// Documents in one sweep; the next one goes on.
const BATCH: i64 = 1000;

pub(super) async fn sweep(store: &MongoStore, pool: &Policy) -> Result<u64, StoreError> {
    // One instant for all of it: an update that is repeated finds nothing left to do.
    let now = store.now().await?;
    settle(store, pool, doc! {}, now).await
}

/// Settles the key whose lapsed lease still holds the place of an Idempotency-Key. Answers how many leases lapsed.
pub(super) async fn settle_idem(
    store: &MongoStore,
    pool: &Policy,
    idem: &IdempotencyDigest,
) -> Result<u64, StoreError> {
    let now = store.now().await?;
    settle(store, pool, doc! {"leases.idem": idem.as_str()}, now).await
}

async fn settle(store: &MongoStore, pool: &Policy, which: Document, now: Timestamp) -> Result<u64, StoreError> {
    let keys = store.keys(pool);
    let mut lapsed = which;
    lapsed.insert("leases.expires_at", doc! {"$lte": expression::date(now)});
    let found = keys
        .find(lapsed)
        .projection(doc! {"_id": 1})
        .limit(BATCH)
        .max_time(store.time_limit)
        .await
        .map_err(error::of_read)?;
    let found: Vec<Document> = found.try_collect().await.map_err(error::of_read)?;
    let update = vec![doc! {"$set": {
        "usage_count": expression::settled_count(pool.lapsed, expression::date(now)),
        "leases": expression::live(expression::date(now)),
    }}];
    let mut settled = 0;
    for document in found {
        let Some(id) = document.get("_id") else { continue };
        let one = doc! {"_id": id, "leases": {"$type": "array"}, "leases.expires_at": {"$lte": expression::date(now)}};
        let before = error::again_after_conflicts(|| async {
            keys.find_one_and_update(one.clone(), update.clone())
                .return_document(ReturnDocument::Before)
                .projection(doc! {"leases": 1})
                .max_time(store.time_limit)
                .await
        })
        .await
        .map_err(error::of_write)?;
        settled += before.as_ref().map_or(0, |before| lapsed_in(before, now));
    }
    Ok(settled)
}

/// How many leases of a document have lapsed.
fn lapsed_in(document: &Document, now: Timestamp) -> u64 {
    let leases = document.get_array("leases").map(Vec::as_slice).unwrap_or_default();
    let ends =
        leases.iter().filter_map(Bson::as_document).filter_map(|lease| document::instant(lease.get("expires_at")));
    ends.filter(|end| *end <= now).count() as u64
}
