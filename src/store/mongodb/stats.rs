//! stats: count the pool on the server, by the rule of `domain::state`.

use bson::{Bson, Document, bson, doc};
use futures_util::TryStreamExt;

use super::expression::Openable;
use super::{MongoStore, document, error, expression, key_request};
use crate::domain::stats::{Besides, Gathering, Group};
use crate::domain::{DisabledReason, Lapsed, Policy, PoolStats, State, Timestamp};
use crate::store::StoreError;

pub(super) async fn stats(store: &MongoStore, pool: &Policy, uses_per_key: u32) -> Result<PoolStats, StoreError> {
    let now = store.now().await?;
    let groups = store
        .keys(pool)
        .aggregate(pipeline(&store.openable(), pool, uses_per_key, now))
        .max_time(store.time_limit)
        .await
        .map_err(error::of_read)?;
    let groups: Vec<Document> = groups.try_collect().await.map_err(error::of_read)?;
    let mut gathering = Gathering::new(uses_per_key, now);
    let mut besides = Besides { key_requests: key_request::count(store, pool).await?, ..Besides::default() };
    for document in &groups {
        gathering.add(&group(document)?);
        besides.needs_migration += whole(document, "needs_migration");
        besides.rejected += whole(document, "rejected");
    }
    Ok(gathering.finish(besides))
}

/// Every document judged, then gathered by state and count. Counts above the uses per key are one.
fn pipeline(openable: &Openable<'_>, pool: &Policy, uses_per_key: u32, now: Timestamp) -> Vec<Document> {
    let uses = i64::from(uses_per_key);
    let is_date = |value: &str| bson!({"$eq": [{"$type": value}, "date"]});
    let lease_ends = doc! {"$min": {"$map": {
        "input": expression::leases(),
        "as": "lease",
        "in": {"$cond": [is_date("$$lease.expires_at"), "$$lease.expires_at", Bson::Null]},
    }}};
    let lease_ends = match pool.lapsed {
        Lapsed::Count => Bson::Null,
        Lapsed::Refund => Bson::Document(lease_ends),
    };
    let is = |state: State| bson!({"$eq": ["$state", state.as_str()]});
    vec![
        doc! {"$project": {
            "state": expression::state(openable, uses_per_key, expression::date(now)),
            "count": expression::whole_count(),
            "open": expression::understood_open(),
            "left": expression::left(uses_per_key),
            "last_used": {"$cond": [is_date("$last_used"), "$last_used", Bson::Null]},
            "rest_ends": {"$cond": [is_date("$resting_until"), "$resting_until", Bson::Null]},
            "lease_ends": lease_ends,
            "needs_migration": {"$cond": [expression::needs_migration(), 1, 0]},
            "is_rejected": {"$eq": ["$disabled_reason", DisabledReason::Rejected.as_str()]},
        }},
        doc! {"$project": {
            "state": 1, "count": 1, "open": 1, "left": 1, "last_used": 1, "needs_migration": 1,
            "rejected": {"$cond": [{"$and": ["$is_rejected", is(State::Disabled)]}, 1, 0]},
            "shown": {"$min": ["$count", uses + 1]},
            "due": {"$switch": {
                "branches": [
                    {"case": {"$and": [is(State::Resting), {"$gt": ["$left", 0]}]}, "then": "$rest_ends"},
                    {"case": {"$eq": [{"$ifNull": ["$lease_ends", Bson::Null]}, Bson::Null]}, "then": Bson::Null},
                    {"case": is(State::Resting), "then": {"$max": ["$rest_ends", "$lease_ends"]}},
                    {"case": is(State::Leased), "then": "$lease_ends"},
                ],
                "default": Bson::Null,
            }},
        }},
        doc! {"$group": {
            "_id": {"state": "$state", "count": "$shown"},
            "keys": {"$sum": 1},
            "counted": {"$sum": "$count"},
            "open": {"$sum": "$open"},
            "left": {"$sum": "$left"},
            "last_used": {"$max": "$last_used"},
            "due": {"$min": "$due"},
            "needs_migration": {"$sum": "$needs_migration"},
            "rejected": {"$sum": "$rejected"},
        }},
    ]
}

fn group(document: &Document) -> Result<Group, StoreError> {
    let alike = document.get_document("_id").ok();
    let word = alike.and_then(|alike| alike.get_str("state").ok());
    let state = State::ALL.into_iter().find(|state| Some(state.as_str()) == word);
    let state = state.ok_or_else(|| StoreError::Refused("a group of the stats has no state".into()))?;
    Ok(Group {
        state,
        usage_count: alike.filter(|_| state != State::Invalid).map(|alike| whole(alike, "count")),
        keys: whole(document, "keys"),
        counted: whole(document, "counted"),
        leased: whole(document, "open"),
        left: whole(document, "left"),
        last_used: document::instant(document.get("last_used")),
        due_at: document::instant(document.get("due")),
    })
}

/// A sum that the server made, of whatever number type; it can be larger than any one count.
pub(super) fn whole(document: &Document, field: &str) -> u64 {
    match document.get(field) {
        Some(Bson::Int32(sum)) => u64::try_from(*sum).unwrap_or(0),
        Some(Bson::Int64(sum)) => u64::try_from(*sum).unwrap_or(0),
        // `as` stops at the ends, and makes nothing of NaN.
        Some(Bson::Double(sum)) => *sum as u64,
        _ => 0,
    }
}
