//! lease: reserve one use of the key that goes first, or find the lease that the same request got before.

use std::time::Duration;

use bson::{Bson, Document, bson, doc};

use super::expression::{self, NOW};
use super::{EntryId, LeaseAnswer, LeaseRequest, LeasedKey, MongoStore, document, error, filter, keep, settle, sweep};
use crate::domain::timestamp::millis;
use crate::domain::{Policy, Secret};
use crate::store::StoreError;
use crate::store::planted::{self, Bug};

/// How often a request that meets its own twins looks again, and the longest pause before it does. The caller's time
/// limit bounds it as well.
const TWIN_TRIES: u32 = 100;
const TWIN_PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn lease(
    store: &MongoStore,
    pool: &Policy,
    request: &LeaseRequest,
) -> Result<LeaseAnswer, StoreError> {
    // Without an Idempotency-Key there is no earlier request to look for.
    if !request.is_repeatable() {
        return match reserve(store, pool, request).await {
            Ok(leased) => Ok(leased?),
            Err(error) => Err(error::of_write(error)),
        };
    }
    for _ in 0..TWIN_TRIES {
        if let Some(same) = same_request(store, pool, request).await? {
            return Ok(same);
        }
        match reserve(store, pool, request).await {
            // A twin got the last use, or its lapsed lease keeps this request from the only key that is left.
            Ok(Ok(LeaseAnswer::NoUsableKey)) => {
                if let Some(same) = same_request(store, pool, request).await? {
                    return Ok(same);
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
        tokio::time::sleep(rand::random_range(Duration::ZERO..=TWIN_PAUSE)).await;
    }
    Err(StoreError::Away("requests with the same Idempotency-Key kept meeting each other".into()))
}

/// One guarded find-and-modify. The inner error is one that came before it, or a document that could not be understood.
async fn reserve(
    store: &MongoStore,
    pool: &Policy,
    request: &LeaseRequest,
) -> Result<Result<LeaseAnswer, StoreError>, mongodb::error::Error> {
    // The unique index keeps two documents apart, this one document's own entries.
    let not_here = doc! {"leases.idem": {"$ne": request.idem.as_str()}};
    let own = request.entry.to_string();
    let fields = projection("id", &own);
    loop {
        let update = push(pool, request);
        let leased = match store.pick(pool, pool.uses_per_key, not_here.clone(), update, fields.clone()).await? {
            Ok(Some(leased)) => leased,
            Ok(None) => return Ok(Ok(LeaseAnswer::NoUsableKey)),
            Err(error) => return Ok(Err(error)),
        };
        match opened(store, pool, &leased).await {
            Ok(Some(leased)) => return Ok(Ok(LeaseAnswer::New(leased))),
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Settles what lapsed, adds the lease, stamps the key: the limit still holds, for what lapsed is counted.
fn push(pool: &Policy, request: &LeaseRequest) -> Vec<Document> {
    with_leases(pool, bson!([entry(request)]))
}

/// The same for a list of leases.
pub(super) fn with_leases(pool: &Policy, entries: impl Into<Bson>) -> Vec<Document> {
    let mut set = expression::settled_usable(pool.lapsed, NOW);
    set.insert("leases", doc! {"$concatArrays": [expression::live(NOW), entries]});
    set.insert("last_used", NOW);
    vec![doc! {"$set": set}]
}

/// The entry of a lease that begins now.
pub(super) fn entry(request: &LeaseRequest) -> Document {
    doc! {
        "id": {"$literal": request.entry.to_string()},
        "expires_at": {"$add": [NOW, millis(request.ttl)]},
        "by": {"$literal": &request.by},
        "idem": {"$literal": request.idem.as_str()},
    }
}

/// The open lease of an earlier request with the same Idempotency-Key, from here on the lease of both: who asked
/// first can no longer give it back. A write, so that what it answers is what a majority has.
pub(super) async fn same_request(
    store: &MongoStore,
    pool: &Policy,
    request: &LeaseRequest,
) -> Result<Option<LeaseAnswer>, StoreError> {
    let idem = request.idem.as_str();
    let mut repeat = settle::change_entry("idem", idem, doc! {"repeated": true});
    if planted::has(Bug::LostOnRetry) {
        repeat.push(doc! {"$set": {"usage_count": {"$max": [0_i64, {"$subtract": ["$usage_count", 1_i64]}]}}});
    }
    let filter = filter::live_entry("idem", idem);
    let fields = projection("idem", idem);
    let same = store.change(pool, filter, repeat, None, fields).await.map_err(error::of_write)?;
    let Some(same) = same else { return Ok(None) };
    // Nothing is taken back: who asked first has it.
    match keep::opened(store, pool, &same, doc! {}).await? {
        Some(secret) => leased_key(&same, &secret).map(|same| Some(LeaseAnswer::Same(same))),
        None => Ok(Some(LeaseAnswer::SameUnreadable)),
    }
}

/// What is read of a leased key: of its leases only the one whose `field` has this value.
fn projection(field: &str, value: &str) -> Document {
    projection_of(doc! {"$eq": [format!("$$lease.{field}"), {"$literal": value}]})
}

/// The same of all leases for which this holds.
pub(super) fn projection_of(own: Document) -> Document {
    let leases = doc! {"$filter": {"input": expression::leases(), "as": "lease", "cond": own}};
    let mut fields = document::secret_fields();
    fields.extend(doc! {"usage_count": 1, "leases": leases});
    fields
}

/// The key of a document read with [`projection`]. None = its secret cannot be read: the lease is taken back.
pub(super) async fn opened(
    store: &MongoStore,
    pool: &Policy,
    document: &Document,
) -> Result<Option<LeasedKey>, StoreError> {
    let undo = keep::without(&names(document));
    // What was leased is, whatever became of taking it back.
    match keep::opened(store, pool, document, undo).await.map_err(something_leased)? {
        Some(secret) => leased_key(document, &secret).map(Some),
        None => Ok(None),
    }
}

/// The same failure where something has been leased already.
pub(super) fn something_leased(error: StoreError) -> StoreError {
    match error {
        StoreError::Away(cause) | StoreError::Refused(cause) => StoreError::Unresolved(cause),
        other => other,
    }
}

/// The ids of the leases in a document.
fn names(document: &Document) -> Vec<String> {
    let leases = document.get_array("leases").map(Vec::as_slice).unwrap_or_default();
    let ids = leases.iter().filter_map(|lease| lease.as_document()?.get_str("id").ok());
    ids.map(str::to_owned).collect()
}

/// The first lease of a document read with [`projection`], on the key of this secret.
pub(super) fn leased_key(document: &Document, secret: &Secret) -> Result<LeasedKey, StoreError> {
    let lost = || StoreError::Unresolved("a leased document changed its shape on its way".into());
    let entry = document.get_array("leases").ok().and_then(|leases| leases.first()?.as_document()).ok_or_else(lost)?;
    Ok(LeasedKey {
        entry: entry.get_str("id").ok().and_then(|id| id.parse::<EntryId>().ok()).ok_or_else(lost)?,
        id: document::id(document).ok_or_else(lost)?,
        secret: secret.clone(),
        usage_count: document::usage_count(document.get("usage_count")).whole().ok_or_else(lost)?,
        expires_at: document::instant(entry.get("expires_at")).ok_or_else(lost)?,
    })
}
