//! lease and find_usable_key for many callers in one step: candidates, one guarded update of all of them, and one read
//! of what it won.
//!
//! The guard of the update is the whole rule, so it is exact whoever else writes. Each document that it changes bears
//! a mark of this step, and only what the read finds marked is handed out.

use std::collections::HashMap;

use bson::oid::ObjectId;
use bson::{Bson, Document, RawDocumentBuf, bson, doc};
use futures_util::TryStreamExt;

use super::expression::{self, NOW};
use super::lease::leased_key;
use super::{MongoStore, document, error, filter, lease};
use crate::domain::{EntryId, Picks, Policy};
use crate::store::{FoundKey, LeaseRequest, LeasedKey, StoreError};

/// Where one step looks for candidates: among what was read a moment ago, then anew, then also among what was handed
/// out just now.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    Left,
    Anew,
    AlsoHot,
}

impl Look {
    /// Whether keys that were handed out just now are left to others.
    fn is_cool(self) -> bool {
        self != Self::AlsoHot
    }

    /// Whether those who got none of what was found go again rather than look further: while there are cool keys, hot
    /// ones are not given, also not where others were faster.
    fn is_enough(self, found: &[ObjectId]) -> bool {
        self == Self::Anew && !found.is_empty()
    }
}

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
            for look in [Look::Left, Look::Anew, Look::AlsoHot] {
                let left = missing(requests, &leased);
                let ids = candidates(store, pool, pool.uses_per_key, look, left.len()).await?;
                if !ids.is_empty() {
                    leased.extend(lease_each(store, pool, look, &ids, &left).await?);
                }
                if leased.len() == requests.len() || look.is_enough(&ids) {
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

async fn candidates(
    store: &MongoStore,
    pool: &Policy,
    uses_per_key: u32,
    look: Look,
    wanted: usize,
) -> Result<Vec<ObjectId>, StoreError> {
    match look {
        Look::Left => Ok(store.candidates.left(pool, uses_per_key, wanted)),
        Look::Anew | Look::AlsoHot => store.read_candidates(pool, uses_per_key, look.is_cool(), wanted).await,
    }
}

/// Leases one use of each of these keys, where it is usable still: the first key for the first request, and so on.
async fn lease_each(
    store: &MongoStore,
    pool: &Policy,
    look: Look,
    ids: &[ObjectId],
    requests: &[&LeaseRequest],
) -> Result<Vec<(EntryId, LeasedKey)>, StoreError> {
    let pairs = ids.len().min(requests.len());
    let (ids, requests) = (&ids[..pairs], &requests[..pairs]);
    let entries: Vec<Document> = requests.iter().map(|request| lease::entry(request)).collect();
    let place = doc! {"$indexOfArray": [{"$literal": ids}, "$_id"]};
    let update = lease::with_leases(pool, bson!([{"$arrayElemAt": [entries, place]}]));
    let names: Vec<String> = requests.iter().map(|request| request.entry.to_string()).collect();
    let mut still_usable = filter::usable(pool.uses_per_key, look.is_cool());
    still_usable.insert("_id", doc! {"$in": ids});
    // A repeated step leaves alone what it did before.
    still_usable.insert("leases.id", doc! {"$nin": &names});
    let won = store.change_each(pool, still_usable, update).await?;
    if won < pairs as u64 {
        store.candidates.contested(pool, pool.uses_per_key);
    }
    if won == 0 {
        return Ok(Vec::new());
    }
    let theirs = doc! {"_id": {"$in": ids}, "leases.id": {"$in": &names}};
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
    let leased = store.pick(pool, pool.uses_per_key, not_here, update, fields).await.map_err(error::of_write)?;
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
    for look in [Look::Left, Look::Anew, Look::AlsoHot] {
        let ids = candidates(store, pool, uses_per_key, look, callers - found.len()).await?;
        if !ids.is_empty() {
            found.extend(stamp_each(store, pool, uses_per_key, look, &ids).await?);
        }
        if found.len() == callers || look.is_enough(&ids) {
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
    look: Look,
    ids: &[ObjectId],
) -> Result<Vec<FoundKey>, StoreError> {
    let step = ObjectId::new();
    let mark = doc! {"$mergeObjects": [{"b": step, "s": expression::remembered()}]};
    let update = vec![doc! {"$set": {"last_used": NOW, "mark": mark}}];
    let mut still_usable = filter::usable(uses_per_key, look.is_cool());
    still_usable.insert("_id", doc! {"$in": ids});
    let won = store.change_each(pool, still_usable, update).await?;
    if won < ids.len() as u64 {
        store.candidates.contested(pool, uses_per_key);
    }
    if won == 0 {
        return Ok(Vec::new());
    }
    let theirs = doc! {"_id": {"$in": ids}, "mark.b": step};
    let read = store.read_each(pool, theirs, doc! {"api_key": 1, "usage_count": 1, "last_used": 1}).await?;
    let found = read.iter().map(|document| {
        let (id, secret, usage_count, last_used) = document::handed_out(document, "last_used")?;
        Ok(FoundKey { id, secret, usage_count, last_used })
    });
    found.collect()
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
