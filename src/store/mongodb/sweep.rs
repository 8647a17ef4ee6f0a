//! sweep: settle the lapsed leases of a pool, one document at a time.

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::options::ReturnDocument;

use super::{MongoStore, document, error, expression};
use crate::domain::{IdempotencyDigest, Policy, Timestamp};
use crate::store::StoreError;

/// Documents in one sweep; the next one goes on. Few enough for the time limit of one.
const BATCH: i64 = 500;

/// Documents settled at the same time.
const AT_ONCE: usize = 8;

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
    let mut lapsed = which;
    lapsed.extend(has_lapsed(now));
    let found = store
        .keys(pool)
        .find(lapsed)
        .projection(doc! {"_id": 1})
        .limit(BATCH)
        .max_time(store.time_limit)
        .await
        .map_err(error::of_read)?;
    let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(error::of_read)?;
    let ids = found.into_iter().filter_map(|document| document::lossy(document).ok()?.remove("_id"));
    let settled: Vec<_> =
        stream::iter(ids.map(|id| settle_one(store, pool, id, now))).buffer_unordered(AT_ONCE).collect().await;
    // One document that cannot be settled keeps none of the others from it.
    let failed = settled.iter().all(Result::is_err);
    let mut sum = 0;
    for one in settled {
        match one {
            Ok(count) => sum += count,
            Err(error) if failed => return Err(error),
            Err(error) => {
                tracing::warn!(pool = %pool.name, error = error.chain(), "a lapsed lease could not be settled")
            }
        }
    }
    Ok(sum)
}

async fn settle_one(store: &MongoStore, pool: &Policy, id: Bson, now: Timestamp) -> Result<u64, StoreError> {
    let keys = store.keys(pool);
    let mut one = doc! {"_id": id};
    one.extend(has_lapsed(now));
    let update = vec![doc! {"$set": expression::settled(pool.lapsed, expression::date(now))}];
    let before = error::again_after_conflicts(|| async {
        keys.find_one_and_update(one.clone(), update.clone())
            .return_document(ReturnDocument::Before)
            .projection(doc! {"leases": 1})
            .max_time(store.time_limit)
            .await
    });
    let before = before.await.map_err(error::of_write)?;
    let before = before.map(document::lossy).transpose().map_err(error::of_write)?;
    Ok(before.as_ref().map_or(0, |before| lapsed_in(before, now)))
}

/// Documents with a lapsed lease. The first condition is the index's, which is only used where the query says that the
/// field is there; it matches some that other programs wrote and in which nothing is to be settled, and the second
/// leaves them out.
fn has_lapsed(now: Timestamp) -> Document {
    let live = doc! {"$size": expression::live(expression::date(now))};
    doc! {
        "leases.expires_at": {"$exists": true, "$lte": expression::date(now)},
        "$expr": {"$lt": [live, expression::open()]},
    }
}

/// How many leases of a document have lapsed.
fn lapsed_in(document: &Document, now: Timestamp) -> u64 {
    let leases = document.get_array("leases").map(Vec::as_slice).unwrap_or_default();
    let ends =
        leases.iter().filter_map(Bson::as_document).filter_map(|lease| document::instant(lease.get("expires_at")));
    ends.filter(|end| *end <= now).count() as u64
}
