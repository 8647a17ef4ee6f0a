//! lease: reserve one use of the key that goes first, or find the lease that the same request got before.

use bson::{Bson, Document, doc};

use super::expression::{self, NOW};
use super::{EntryId, LeaseAnswer, LeaseRequest, LeasedKey, MongoStore, document, error, sweep};
use crate::domain::timestamp::millis;
use crate::domain::{IdempotencyDigest, Policy};
use crate::store::StoreError;

/// How often a request that meets its own twin looks again.
const TWIN_TRIES: u32 = 4;

pub(super) async fn lease(
    store: &MongoStore,
    pool: &Policy,
    request: &LeaseRequest,
) -> Result<LeaseAnswer, StoreError> {
    // Without an Idempotency-Key there is no earlier request to look for.
    if request.idem == IdempotencyDigest::none(request.entry) {
        return match reserve(store, pool, request).await {
            Ok(leased) => Ok(leased?),
            Err(error) => Err(error::of_write(error)),
        };
    }
    for _ in 0..TWIN_TRIES {
        if let Some(same) = same_request(store, pool, request).await? {
            return Ok(LeaseAnswer::Same(same));
        }
        match reserve(store, pool, request).await {
            // A twin got the last use, or its lapsed lease keeps this request from the only key that is left.
            Ok(Ok(LeaseAnswer::NoUsableKey)) => {
                if let Some(same) = same_request(store, pool, request).await? {
                    return Ok(LeaseAnswer::Same(same));
                }
                if sweep::settle_idem(store, pool, &request.idem).await? == 0 {
                    return Ok(LeaseAnswer::NoUsableKey);
                }
            }
            Ok(leased) => return leased,
            // A twin of this request was faster, or its lapsed lease still holds the place.
            Err(error) if error::is_duplicate(&error) => {
                sweep::settle_idem(store, pool, &request.idem).await?;
            }
            Err(error) => return Err(error::of_write(error)),
        }
    }
    Err(StoreError::Away("requests with the same Idempotency-Key kept meeting each other".into()))
}

/// One find-and-modify: the inner result is a document that could not be understood.
async fn reserve(
    store: &MongoStore,
    pool: &Policy,
    request: &LeaseRequest,
) -> Result<Result<LeaseAnswer, StoreError>, mongodb::error::Error> {
    // The unique index keeps two documents apart, this one document's own entries.
    let not_here = doc! {"leases.idem": {"$ne": request.idem.as_str()}};
    let fields = doc! {"api_key": 1, "usage_count": 1, "leases": 1};
    let leased = store.pick(pool, pool.uses_per_key, not_here, push(pool, request), fields).await?;
    let Some(leased) = leased else { return Ok(Ok(LeaseAnswer::NoUsableKey)) };
    Ok(leased_key(&leased, |entry| entry.get_str("id").ok() == Some(&request.entry.to_string())).map(LeaseAnswer::New))
}

/// Settles what lapsed, adds the lease, stamps the key: the limit still holds, for what lapsed is counted.
fn push(pool: &Policy, request: &LeaseRequest) -> Vec<Document> {
    let entry = doc! {
        "id": {"$literal": request.entry.to_string()},
        "expires_at": {"$add": [NOW, millis(request.ttl)]},
        "by": {"$literal": &request.by},
        "idem": {"$literal": request.idem.as_str()},
    };
    vec![doc! {"$set": {
        "usage_count": expression::settled_count(pool.lapsed, NOW),
        "leases": {"$concatArrays": [expression::live(NOW), [entry]]},
        "last_used": NOW,
    }}]
}

/// The open lease of an earlier request with the same Idempotency-Key.
async fn same_request(
    store: &MongoStore,
    pool: &Policy,
    request: &LeaseRequest,
) -> Result<Option<LeasedKey>, StoreError> {
    let found = store
        .keys(pool)
        .find_one(doc! {"leases.idem": request.idem.as_str()})
        .projection(document::projection())
        .max_time(store.time_limit)
        .await
        .map_err(error::of_read)?;
    let Some(found) = found else { return Ok(None) };
    let now = document::instant(found.get("now"));
    let live = |entry: &Document| {
        entry.get_str("idem").ok() == Some(request.idem.as_str()) && document::instant(entry.get("expires_at")) > now
    };
    Ok(leased_key(&found, live).ok())
}

/// The key of a document with the entry that `is_it` knows.
fn leased_key(document: &Document, is_it: impl Fn(&Document) -> bool) -> Result<LeasedKey, StoreError> {
    let entry = document
        .get_array("leases")
        .ok()
        .and_then(|leases| leases.iter().filter_map(Bson::as_document).find(|entry| is_it(entry)))
        .ok_or_else(|| StoreError::Refused("the lease is not in its document".into()))?;
    let (id, secret, usage_count, expires_at) = {
        let mut flat = document.clone();
        flat.insert("expires_at", entry.get("expires_at").cloned().unwrap_or(Bson::Null));
        document::handed_out(&flat, "expires_at")?
    };
    let entry = entry.get_str("id").ok().and_then(|id| id.parse::<EntryId>().ok());
    let entry = entry.ok_or_else(|| StoreError::Refused("the lease in its document has no id".into()))?;
    Ok(LeasedKey { entry, id, secret, usage_count, expires_at })
}
