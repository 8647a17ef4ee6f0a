//! report: end a lease with its effect on the key, in one step.

use std::collections::{BTreeMap, HashMap};

use bson::oid::ObjectId;
use bson::{Bson, Document, bson, doc};

use super::expression::NOW;
use super::{MongoStore, document, error, expression, filter, settle};
use crate::domain::report::Effect;
use crate::domain::state::state;
use crate::domain::{KeyId, LeaseId, Picks, Policy, Report};
use crate::store::planted::{self, Bug};
use crate::store::{Settled, StoreError};

pub(super) async fn report(
    store: &MongoStore,
    pool: &Policy,
    lease: &LeaseId,
    report: Report,
) -> Result<Option<Settled>, StoreError> {
    let mut set = effect(report.effect(pool));
    if !planted::has(Bug::SettledTwice) {
        set.insert("leases", settle::without(lease.entry));
    }
    let update = vec![doc! {"$set": set}];
    let settled = store
        .change(pool, filter::open_lease(lease), update, None, document::projection())
        .await
        .map_err(error::of_write)?;
    Ok(settled.and_then(|settled| of_document(store, pool, &settled)))
}

/// A key whose lease was settled, read with [`document::projection`].
fn of_document(store: &MongoStore, pool: &Policy, settled: &Document) -> Option<Settled> {
    let now = document::instant(settled.get("now"))?;
    let key = document::key(&store.vault, pool, settled)?;
    Some(Settled { id: key.id, usage_count: key.usage_count, state: state(&key, pool.uses_per_key, now) })
}

/// How many leases that were ended a key remembers. Read at once: only what others end on the same key meanwhile could
/// push an entry out, and that is told from a lease that was gone.
const REMEMBERED: usize = 16;

/// One update of all keys, in which each remembers what this step ended, and one read of that.
pub(super) async fn report_used(
    store: &MongoStore,
    pool: &Policy,
    leases: &[LeaseId],
) -> Result<Vec<Option<Settled>>, StoreError> {
    let mut settled: HashMap<String, Settled> = HashMap::new();
    match pool.picks {
        Picks::LeastRecentlyUsed => settled.extend(end_each(store, pool, leases).await?),
        // Many leases of the one current key: a find-and-modify of it answers by itself.
        Picks::InOrder => {
            let mut of_key: BTreeMap<KeyId, Vec<&LeaseId>> = BTreeMap::new();
            for lease in leases {
                of_key.entry(lease.key).or_default().push(lease);
            }
            for (key, leases) in of_key {
                settled.extend(end_all_of(store, pool, key, &leases).await?);
            }
        }
    }
    Ok(leases.iter().map(|lease| settled.remove(&lease.entry.to_string())).collect())
}

async fn end_each(
    store: &MongoStore,
    pool: &Policy,
    leases: &[LeaseId],
) -> Result<HashMap<String, Settled>, StoreError> {
    let step = ObjectId::new();
    let ids: Vec<ObjectId> = leases.iter().map(|lease| filter::object_id(lease.key)).collect();
    let names: Vec<String> = leases.iter().map(|lease| lease.entry.to_string()).collect();
    let theirs = with_live(doc! {"$in": &ids}, &names);
    let changed = store.change_each(pool, theirs, end(step, &names, leases.len())).await?;
    if changed == 0 {
        return Ok(HashMap::new());
    }
    let read = store.read_each(pool, doc! {"_id": {"$in": &ids}, "mark.s.b": step}, ended_projection()).await?;
    // A key that was taken out of the pool meanwhile, or of which others ended more than it remembers.
    if read.len() as u64 != changed {
        return Err(StoreError::Unresolved("what a step ended was gone before it was read".into()));
    }
    Ok(read.iter().flat_map(|document| ended(store, pool, document, step)).collect())
}

async fn end_all_of(
    store: &MongoStore,
    pool: &Policy,
    key: KeyId,
    leases: &[&LeaseId],
) -> Result<Vec<(String, Settled)>, StoreError> {
    let step = ObjectId::new();
    let names: Vec<String> = leases.iter().map(|lease| lease.entry.to_string()).collect();
    let theirs = with_live(filter::object_id(key), &names);
    let changed = store.change(pool, theirs, end(step, &names, leases.len()), None, ended_projection()).await;
    Ok(changed.map_err(error::of_write)?.map(|document| ended(store, pool, &document, step)).unwrap_or_default())
}

/// These keys, where one of these leases at least has not lapsed.
fn with_live(ids: impl Into<Bson>, names: &[String]) -> Document {
    let live = doc! {"$map": {"input": expression::live("$$now"), "as": "lease", "in": "$$lease.id"}};
    let any = doc! {"$gt": [{"$size": {"$setIntersection": [live, {"$literal": names}]}}, 0]};
    doc! {
        "_id": ids.into(),
        "leases.id": {"$in": names},
        // Bound by $let, for a server that refuses the clock inside $filter in a filter.
        "$expr": {"$let": {"vars": {"now": NOW}, "in": any}},
    }
}

/// Ends those of these leases that have not lapsed, as used, and remembers them with the step.
fn end(step: ObjectId, names: &[String], remembered: usize) -> Vec<Document> {
    let live = doc! {"$map": {"input": expression::live(NOW), "as": "lease", "in": "$$lease.id"}};
    let ended = doc! {"$map": {
        "input": {"$filter": {"input": live, "as": "id", "cond": {"$in": ["$$id", {"$literal": names}]}}},
        "as": "id",
        "in": {"id": "$$id", "b": step},
    }};
    let remembered = REMEMBERED.max(remembered) as i64;
    let now_and_before = doc! {"$slice": [{"$concatArrays": [ended, expression::remembered()]}, remembered]};
    let ours = doc! {"$map": {
        "input": {"$filter": {"input": "$mark.s", "as": "one", "cond": {"$eq": ["$$one.b", step]}}},
        "as": "one",
        "in": "$$one.id",
    }};
    let mut set = expression::counted(doc! {"$size": &ours});
    let left = doc! {"$filter": {
        "input": expression::leases(), "as": "lease", "cond": {"$not": [{"$in": ["$$lease.id", ours]}]},
    }};
    if !planted::has(Bug::SettledTwice) {
        set.insert("leases", left);
    }
    vec![
        // $mergeObjects makes it a value of its own, whatever there is in its place.
        doc! {"$set": {"mark": {"$mergeObjects": [{"b": step, "s": now_and_before}]}}},
        doc! {"$set": set},
    ]
}

/// What [`ended`] reads.
fn ended_projection() -> Document {
    let mut fields = document::projection();
    fields.insert("ended", expression::remembered());
    fields
}

/// The leases of a key that this step ended.
fn ended(store: &MongoStore, pool: &Policy, document: &Document, step: ObjectId) -> Vec<(String, Settled)> {
    let remembered = document.get_array("ended").into_iter().flatten().filter_map(Bson::as_document);
    let ours = remembered.filter(|one| one.get_object_id("b").ok() == Some(step));
    let names = ours.filter_map(|one| one.get_str("id").ok());
    names.filter_map(|name| Some((name.to_owned(), of_document(store, pool, document)?))).collect()
}

/// The fields that an effect sets.
fn effect(effect: Effect) -> Document {
    match effect {
        Effect::Nothing => doc! {},
        Effect::Count => expression::counted(1),
        Effect::Rest(rest) => doc! {"resting_until": expression::rest_for(rest)},
        // Only a key that was active gets the reason: an operator's own is kept.
        Effect::Disable(reason) => {
            let was_active = bson!({"$eq": ["$is_active", true]});
            doc! {
                "is_active": {"$cond": [&was_active, false, "$is_active"]},
                "disabled_reason": {"$cond": [was_active, reason.as_str(), "$disabled_reason"]},
            }
        }
    }
}
