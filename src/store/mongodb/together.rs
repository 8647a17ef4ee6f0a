//! lease and find_usable_key for many callers in one step: candidates, one guarded update of all of them, and one read
//! of what it won.
//!
//! The guard of the update is the whole rule, so it is exact whoever else writes. Each document that it changes bears
//! a mark of this step, and only what the read finds marked is handed out.

use std::collections::{HashMap, HashSet};

use bson::oid::ObjectId;
use bson::{Bson, Document, RawDocumentBuf, bson, doc};
use futures_util::TryStreamExt;

use super::candidates::Candidate;
use super::expression::{self, NOW, Openable};
use super::{MongoStore, document, error, filter, keep, lease, sweep};
use crate::domain::{EntryId, Picks, Policy};
use crate::store::planted::{self, Bug};
use crate::store::{FoundKey, LeaseAnswer, LeaseRequest, LeasedKey, StoreError};

/// How often a step looks that gets nothing at all: what was read a moment ago may be taken, what was read just now
/// is so by bad luck only.
const LOOKS: u32 = 2;

pub(super) async fn lease_all(
    store: &MongoStore,
    pool: &Policy,
    requests: &[LeaseRequest],
) -> Result<Vec<LeaseAnswer>, StoreError> {
    let mut answers: HashMap<EntryId, LeaseAnswer> = HashMap::new();
    let asked_before = asked_before(store, pool, requests).await?;
    let mut new: Vec<&LeaseRequest> = Vec::new();
    let mut met = HashSet::new();
    for request in requests {
        if asked_before.contains(request.idem.as_str()) {
            let same = repeat(store, pool, request).await.map_err(nothing_new)?;
            answers.extend(same.map(|same| (request.entry, same)));
        } else if met.insert(request.idem.as_str()) {
            new.push(request);
        }
        // A twin within this step goes again, and finds the lease of the first of them.
    }
    let leased = lease_new(store, pool, &new).await?;
    answers.extend(leased.into_iter().map(|(entry, key)| (entry, LeaseAnswer::New(key))));
    let mut answer = |request: &LeaseRequest| answers.remove(&request.entry).unwrap_or(LeaseAnswer::NoUsableKey);
    Ok(requests.iter().map(&mut answer).collect())
}

/// Of these requests the Idempotency-Keys, as they are stored, that a lease has already, lapsed or not.
async fn asked_before(
    store: &MongoStore,
    pool: &Policy,
    requests: &[LeaseRequest],
) -> Result<HashSet<String>, StoreError> {
    let idems: Vec<&str> =
        requests.iter().filter(|request| request.is_repeatable()).map(|request| request.idem.as_str()).collect();
    if idems.is_empty() {
        return Ok(HashSet::new());
    }
    let these = doc! {"$in": ["$$lease.idem", {"$literal": &idems}]};
    let theirs = doc! {"leases": {"$map": {
        "input": {"$filter": {"input": expression::leases(), "as": "lease", "cond": these}},
        "as": "lease",
        "in": "$$lease.idem",
    }}};
    let found = store.read_each(pool, doc! {"leases.idem": {"$in": &idems}}, theirs).await.map_err(nothing_new)?;
    let idems = found.iter().flat_map(|document| document.get_array("leases").map(Vec::as_slice).unwrap_or_default());
    Ok(idems.filter_map(Bson::as_str).map(str::to_owned).collect())
}

/// The open lease of the same request. None = it has lapsed, and is settled: the next look leases anew.
async fn repeat(store: &MongoStore, pool: &Policy, request: &LeaseRequest) -> Result<Option<LeaseAnswer>, StoreError> {
    let same = lease::same_request(store, pool, request).await?;
    if same.is_none() {
        sweep::settle_idem(store, pool, &request.idem).await?;
    }
    Ok(same)
}

/// The same failure where nothing new can have been leased yet.
fn nothing_new(error: StoreError) -> StoreError {
    match error {
        StoreError::Unresolved(cause) => StoreError::Away(cause),
        other => other,
    }
}

/// Leases a key for each of these, no two of them the same request, and none asked before as far as was seen.
async fn lease_new(
    store: &MongoStore,
    pool: &Policy,
    requests: &[&LeaseRequest],
) -> Result<HashMap<EntryId, LeasedKey>, StoreError> {
    let mut leased: HashMap<EntryId, LeasedKey> = HashMap::new();
    if requests.is_empty() {
        return Ok(leased);
    }
    match pool.picks {
        Picks::InOrder => {
            while leased.len() < requests.len() {
                let left = missing(requests, &leased);
                let got = lease_from_first(store, pool, &left).await;
                // What was leased before is leased, whatever became of this.
                let got = if leased.is_empty() { got? } else { got.map_err(lease::something_leased)? };
                if got.is_empty() {
                    break;
                }
                leased.extend(got);
            }
        }
        Picks::LeastRecentlyUsed => {
            for _ in 0..LOOKS {
                let candidates = store.candidates(pool, pool.uses_per_key, requests.len()).await?;
                leased.extend(lease_each(store, pool, &candidates, requests).await?);
                if !leased.is_empty() || candidates.is_empty() {
                    break;
                }
            }
        }
    }
    Ok(leased)
}

/// The requests that have no key yet.
fn missing<'a>(requests: &[&'a LeaseRequest], leased: &HashMap<EntryId, LeasedKey>) -> Vec<&'a LeaseRequest> {
    requests.iter().copied().filter(|request| !leased.contains_key(&request.entry)).collect()
}

/// Those keys that no lease of these requests is on. The unique index keeps two documents apart, not one document's own
/// entries; and a repeated step leaves alone what it did before.
fn without_theirs(requests: &[&LeaseRequest]) -> Document {
    let names: Vec<String> = requests.iter().map(|request| request.entry.to_string()).collect();
    let idems: Vec<&str> = requests.iter().map(|request| request.idem.as_str()).collect();
    doc! {"leases.id": {"$nin": names}, "leases.idem": {"$nin": idems}}
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
    let mut still_usable = still_usable(&store.openable(), pool.uses_per_key, candidates);
    still_usable.extend(without_theirs(requests));
    let won = match store.try_change_each(pool, still_usable, update).await {
        Ok(won) => won,
        // Another instance was asked the same at this moment. What was leased until then is, and tells so itself.
        Err(error) if error::is_duplicate(&error) => pairs as u64,
        Err(error) => return Err(error::of_write(error)),
    };
    if won < pairs as u64 {
        store.candidates.contested(pool, pool.uses_per_key);
    }
    if won == 0 {
        store.candidates.forget(pool, pool.uses_per_key);
        return Ok(Vec::new());
    }
    let theirs = doc! {"_id": {"$in": &ids}, "leases.id": {"$in": &names}};
    let read = store.read_each(pool, theirs, lease::projection_of(doc! {"$in": ["$$lease.id", {"$literal": &names}]}));
    let mut leased = Vec::with_capacity(pairs);
    for document in read.await? {
        leased.extend(lease::opened(store, pool, &document).await?.map(|key| (key.entry, key)));
    }
    Ok(leased)
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
    let not_here = without_theirs(requests);
    let fields = lease::projection_of(doc! {"$in": ["$$lease.id", {"$literal": &names}]});
    loop {
        let leased = match store.pick(pool, pool.uses_per_key, not_here.clone(), update.clone(), fields.clone()).await {
            Ok(leased) => leased?,
            // Another instance was asked the same at this moment: the next look finds its lease.
            Err(error) if error::is_duplicate(&error) => None,
            Err(error) => return Err(error::of_write(error)),
        };
        let Some(leased) = leased else { return Ok(Vec::new()) };
        let Some(LeasedKey { secret, .. }) = lease::opened(store, pool, &leased).await? else { continue };
        let of_one = |entry: &Bson| {
            let mut one = leased.clone();
            one.insert("leases", bson!([entry.clone()]));
            lease::leased_key(&one, &secret).map(|key| (key.entry, key))
        };
        return leased.get_array("leases").map(Vec::as_slice).unwrap_or_default().iter().map(of_one).collect();
    }
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
    let still_usable = still_usable(&store.openable(), uses_per_key, candidates);
    let won = store.change_each(pool, still_usable, update).await?;
    if won < candidates.len() as u64 {
        store.candidates.contested(pool, uses_per_key);
    }
    if won == 0 {
        store.candidates.forget(pool, uses_per_key);
        return Ok(Vec::new());
    }
    let ids: Vec<ObjectId> = candidates.iter().map(|candidate| candidate.id).collect();
    let theirs = doc! {"_id": {"$in": ids}, "mark.b": step};
    let mut fields = document::secret_fields();
    fields.extend(doc! {"usage_count": 1, "last_used": 1});
    let mut found = Vec::with_capacity(candidates.len());
    for document in store.read_each(pool, theirs, fields).await? {
        if let Some(secret) = keep::opened(store, pool, &document, doc! {}).await? {
            let (id, usage_count, last_used) = document::handed_out(&document, "last_used")?;
            found.push(FoundKey { id, secret, usage_count, last_used });
        }
    }
    Ok(found)
}

/// The whole rule for these keys. One that was cool is left to whoever was faster; one that was hot, when there was no
/// other, may be it still.
fn still_usable(openable: &Openable<'_>, uses_per_key: u32, candidates: &[Candidate]) -> Document {
    let hot: Vec<ObjectId> =
        candidates.iter().filter(|candidate| candidate.hot).map(|candidate| candidate.id).collect();
    let ids: Vec<ObjectId> = candidates.iter().map(|candidate| candidate.id).collect();
    if planted::has(Bug::GuardDropped) {
        return doc! {"_id": {"$in": ids}};
    }
    let mut rule = filter::usable(openable, uses_per_key, hot.is_empty());
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
        self.try_change_each(pool, filter, update).await.map_err(error::of_write)
    }

    async fn try_change_each(
        &self,
        pool: &Policy,
        filter: Document,
        update: Vec<Document>,
    ) -> Result<u64, mongodb::error::Error> {
        let keys = self.keys(pool);
        let changed = error::again_after_conflicts(|| async { keys.update_many(filter.clone(), update.clone()).await });
        changed.await.map(|changed| changed.modified_count)
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
