//! lease and find_usable_key for many callers in one step: candidates, one guarded update of all of them, and one read
//! of what it won.
//!
//! The guard of the update is the whole rule, so it is exact whoever else writes. Each document that it changes bears
//! a mark of this step, and only what the read finds marked is handed out.

use std::collections::HashMap;

use bson::oid::ObjectId;
use bson::{Bson, Document, RawDocumentBuf, bson, doc};
use futures_util::TryStreamExt;

use super::candidates::Candidate;
use super::expression::{self, NOW};
use super::lease::leased_key;
use super::{MongoStore, document, error, filter, lease};
use crate::domain::{EntryId, Picks, Policy};
use crate::store::planted::{self, Bug};
use crate::store::{FoundKey, LeaseRequest, LeasedKey, StoreError};

/// How often a step looks that gets nothing at all: what was read a moment ago may be taken, what was read just now
/// is so by bad luck only.
const LOOKS: u32 = 2;

pub(super) async fn lease_all(
    store: &MongoStore,
    pool: &Policy,
    requests: &[LeaseRequest],
) -> Result<Vec<Option<LeasedKey>>, StoreError> {
    let mut leased: HashMap<EntryId, LeasedKey> = HashMap::new();
    match pool.picks {
        Picks::InOrder => {
            while leased.len() < requests.len() {
                let left = missing(requests, &leased);
                let got = lease_from_first(store, pool, &left).await?;
                if got.is_empty() {
                    break;
                }
                leased.extend(got);
            }
        }
        Picks::LeastRecentlyUsed => {
            let all: Vec<&LeaseRequest> = requests.iter().collect();
            for _ in 0..LOOKS {
                let candidates = store.candidates(pool, pool.uses_per_key, all.len()).await?;
                leased.extend(lease_each(store, pool, &candidates, &all).await?);
                if !leased.is_empty() || candidates.is_empty() {
                    break;
                }
            }
        }
    }
    Ok(requests.iter().map(|request| leased.remove(&request.entry)).collect())
}

/// The requests that have no key yet.
fn missing<'a>(requests: &'a [LeaseRequest], leased: &HashMap<EntryId, LeasedKey>) -> Vec<&'a LeaseRequest> {
    requests.iter().filter(|request| !leased.contains_key(&request.entry)).collect()
}

/// Leases one use of each of these keys, where it is usable still: the first key for the first request, and so on.
async fn lease_each(
    store: &MongoStore,
    pool: &Policy,
    candidates: &[Candidate],
    requests: &[&LeaseRequest],
) -> Result<Vec<(EntryId, LeasedKey)>, StoreError> {
    let pairs = candidates.len().min(requests.len());
    let (candidates, requests) = (&candidates[..pairs], &requests[..pairs]);
    let ids: Vec<ObjectId> = candidates.iter().map(|candidate| candidate.id).collect();
    let entries: Vec<Document> = requests.iter().map(|request| lease::entry(request)).collect();
    let place = doc! {"$indexOfArray": [{"$literal": &ids}, "$_id"]};
    let update = lease::with_leases(pool, bson!([{"$arrayElemAt": [entries, place]}]));
    let names: Vec<String> = requests.iter().map(|request| request.entry.to_string()).collect();
    let mut still_usable = still_usable(pool.uses_per_key, candidates);
    // A repeated step leaves alone what it did before.
    still_usable.insert("leases.id", doc! {"$nin": &names});
    let won = store.change_each(pool, still_usable, update).await?;
    if won < pairs as u64 {
        store.candidates.contested(pool, pool.uses_per_key);
    }
    if won == 0 {
        store.candidates.forget(pool, pool.uses_per_key);
        return Ok(Vec::new());
    }
    let theirs = doc! {"_id": {"$in": &ids}, "leases.id": {"$in": &names}};
    let read = store.read_each(pool, theirs, lease::projection_of(doc! {"$in": ["$$lease.id", {"$literal": &names}]}));
    read.await?.iter().map(|document| leased_key(document).map(|key| (key.entry, key))).collect()
}

/// Leases the key that goes first to as many requests as it has uses left.
async fn lease_from_first(
    store: &MongoStore,
    pool: &Policy,
    requests: &[&LeaseRequest],
) -> Result<Vec<(EntryId, LeasedKey)>, StoreError> {
    let entries: Vec<Document> = requests.iter().map(|request| lease::entry(request)).collect();
    let names: Vec<String> = requests.iter().map(|request| request.entry.to_string()).collect();
    let taken = doc! {"$add": [expression::count(), expression::open()]};
    let left = doc! {"$subtract": [i64::from(pool.uses_per_key), taken]};
    let update = lease::with_leases(pool, doc! {"$slice": [entries, {"$toInt": left}]});
    let not_here = doc! {"leases.id": {"$nin": &names}};
    let fields = lease::projection_of(doc! {"$in": ["$$lease.id", {"$literal": &names}]});
    let leased = store.pick(pool, pool.uses_per_key, not_here, update, fields).await.map_err(error::of_write)??;
    let Some(leased) = leased else { return Ok(Vec::new()) };
    let of_one = |entry: &Bson| {
        let mut one = leased.clone();
        one.insert("leases", bson!([entry.clone()]));
        leased_key(&one).map(|key| (key.entry, key))
    };
    leased.get_array("leases").map(Vec::as_slice).unwrap_or_default().iter().map(of_one).collect()
}

pub(super) async fn find_all(
    store: &MongoStore,
    pool: &Policy,
    uses_per_key: u32,
    callers: usize,
) -> Result<Vec<FoundKey>, StoreError> {
    // The first key stays the first: all find it.
    if pool.picks == Picks::InOrder {
        let found = super::find_usable_key::find_usable_key(store, pool, uses_per_key).await?;
        return Ok(found.into_iter().cycle().take(callers).collect());
    }
    let mut found = Vec::new();
    for _ in 0..LOOKS {
        let candidates = store.candidates(pool, uses_per_key, callers).await?;
        found.extend(stamp_each(store, pool, uses_per_key, &candidates).await?);
        if !found.is_empty() || candidates.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// Stamps these keys, where they are usable still.
async fn stamp_each(
    store: &MongoStore,
    pool: &Policy,
    uses_per_key: u32,
    candidates: &[Candidate],
) -> Result<Vec<FoundKey>, StoreError> {
    let step = ObjectId::new();
    let mark = doc! {"$mergeObjects": [{"b": step, "s": expression::remembered()}]};
    let update = vec![doc! {"$set": {"last_used": NOW, "mark": mark}}];
    let won = store.change_each(pool, still_usable(uses_per_key, candidates), update).await?;
    if won < candidates.len() as u64 {
        store.candidates.contested(pool, uses_per_key);
    }
    if won == 0 {
        store.candidates.forget(pool, uses_per_key);
        return Ok(Vec::new());
    }
    let ids: Vec<ObjectId> = candidates.iter().map(|candidate| candidate.id).collect();
    let theirs = doc! {"_id": {"$in": ids}, "mark.b": step};
    let read = store.read_each(pool, theirs, doc! {"api_key": 1, "usage_count": 1, "last_used": 1}).await?;
    let found = read.iter().map(|document| {
        let (id, secret, usage_count, last_used) = document::handed_out(document, "last_used")?;
        Ok(FoundKey { id, secret, usage_count, last_used })
    });
    found.collect()
}

/// The whole rule for these keys. One that was cool is left to whoever was faster; one that was hot, when there was no
/// other, may be it still.
fn still_usable(uses_per_key: u32, candidates: &[Candidate]) -> Document {
    let hot: Vec<ObjectId> =
        candidates.iter().filter(|candidate| candidate.hot).map(|candidate| candidate.id).collect();
    let ids: Vec<ObjectId> = candidates.iter().map(|candidate| candidate.id).collect();
    if planted::has(Bug::GuardDropped) {
        return doc! {"_id": {"$in": ids}};
    }
    let mut rule = filter::usable(uses_per_key, hot.is_empty());
    rule.insert("_id", doc! {"$in": ids});
    if !hot.is_empty() && hot.len() < candidates.len() {
        let cool = doc! {"$not": [expression::is_hot()]};
        rule.insert("$or", bson!([{"_id": {"$in": hot}}, {"$expr": cool}]));
    }
    rule
}

impl MongoStore {
    /// Changes every document that the filter matches; answers how many.
    pub(super) async fn change_each(
        &self,
        pool: &Policy,
        filter: Document,
        update: Vec<Document>,
    ) -> Result<u64, StoreError> {
        let keys = self.keys(pool);
        let changed = error::again_after_conflicts(|| async { keys.update_many(filter.clone(), update.clone()).await });
        changed.await.map(|changed| changed.modified_count).map_err(error::of_write)
    }

    /// Reads what a step has changed. Where that fails nobody knows what it handed out.
    pub(super) async fn read_each(
        &self,
        pool: &Policy,
        filter: Document,
        fields: Document,
    ) -> Result<Vec<Document>, StoreError> {
        let found = self.keys(pool).find(filter).projection(fields).max_time(self.time_limit).await;
        let found: Result<Vec<RawDocumentBuf>, _> = match found {
            Ok(found) => found.try_collect().await,
            Err(error) => Err(error),
        };
        let read = found.and_then(|found| found.into_iter().map(document::lossy).collect());
        read.map_err(|error| match error::of_read(error) {
            StoreError::Away(cause) | StoreError::Refused(cause) => StoreError::Unresolved(cause),
            other => other,
        })
    }
}
