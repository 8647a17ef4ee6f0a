//! Which documents an operation may touch: the whole rule, repeated in the operation's own filter.

use bson::{Bson, Document, bson, doc, oid::ObjectId};

use super::expression::{self, NOW, Openable};
use crate::domain::{KeyId, KeyRef, LeaseId, Picks, Policy};
use crate::store::planted::{self, Bug};
use crate::store::vault::Vault;

/// MongoDB merges the ranges of an `$in` in order up to this many values; above, the order is sorted in memory.
const MERGED_RANGES: u32 = 200;

/// Keys that can be handed out, where one gives `uses_per_key`: state `usable` of `domain::state`.
///
/// The counts are listed one by one, so that the index gives each count's keys in order and spent keys are never
/// walked. `cool`: only those that were not handed out just now.
pub(super) fn usable(openable: &Openable<'_>, uses_per_key: u32, cool: bool) -> Document {
    let held = match planted::has(Bug::LapsedIsFree) {
        true => doc! {"$size": expression::live(NOW)},
        false => expression::open(),
    };
    let mut rule: Vec<Bson> = vec![
        // An array that holds true would match the plain condition as well.
        bson!({"$eq": ["$is_active", true]}),
        bson!(expression::is_valid(openable)),
        bson!({"$lt": [{"$add": [expression::count(), held]}, i64::from(uses_per_key)]}),
        bson!({"$not": [expression::is_resting(NOW)]}),
    ];
    if cool {
        rule.push(bson!({"$not": [expression::is_hot()]}));
    }
    doc! {"is_active": true, "usage_count": counts(0, uses_per_key), "$expr": {"$and": rule}}
}

/// The counts from one to below another.
pub(super) fn counts(from: u32, below: u32) -> Bson {
    if below <= MERGED_RANGES {
        bson!({"$in": (i64::from(from)..i64::from(below)).collect::<Vec<_>>()})
    } else {
        bson!({"$gte": i64::from(from), "$lt": i64::from(below)})
    }
}

/// The order in which a pool's keys are handed out; an index ends with it.
pub(super) fn order(picks: Picks) -> Document {
    match picks {
        Picks::LeastRecentlyUsed => doc! {"last_used": 1, "_id": 1},
        Picks::InOrder => doc! {"order": 1, "_id": 1},
    }
}

/// Whether a crowd must be spread by leaving out the keys that were handed out just now.
pub(super) fn spreads(pool: &Policy) -> bool {
    pool.picks == Picks::LeastRecentlyUsed
}

/// The id as MongoDB keeps it.
pub(super) fn object_id(id: KeyId) -> ObjectId {
    ObjectId::from_bytes(id.bytes())
}

/// One key, by id or by secret. A list that holds the secret is not the secret.
pub(super) fn key(vault: &Vault, pool: &Policy, key: &KeyRef) -> Document {
    match key {
        KeyRef::Id(id) => doc! {"_id": object_id(*id)},
        KeyRef::Secret(secret) => {
            let text = match &vault.texts(pool, secret)[..] {
                [text] => doc! {"$eq": text},
                texts => doc! {"$in": texts},
            };
            doc! {"api_key": text, "$expr": {"$eq": [{"$type": "$api_key"}, "string"]}}
        }
    }
}

/// Documents among which are those of all these keys.
pub(super) fn keys(vault: &Vault, pool: &Policy, keys: &[KeyRef]) -> Document {
    let (mut ids, mut secrets) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            KeyRef::Id(id) => ids.push(object_id(*id)),
            KeyRef::Secret(secret) => secrets.extend(vault.texts(pool, secret)),
        }
    }
    let (by_id, by_secret) = (doc! {"_id": {"$in": &ids}}, doc! {"api_key": {"$in": &secrets}});
    match (ids.is_empty(), secrets.is_empty()) {
        (_, true) => by_id,
        (true, false) => by_secret,
        (false, false) => doc! {"$or": [by_id, by_secret]},
    }
}

/// The key of a lease that has neither been settled nor lapsed.
pub(super) fn open_lease(lease: &LeaseId) -> Document {
    let mut filter = doc! {"_id": object_id(lease.key)};
    filter.extend(live_entry("id", &lease.entry.to_string()));
    filter
}

/// The key that has an entry with this value in `field`, `id` or `idem`, among its leases that have not lapsed.
pub(super) fn live_entry(field: &str, value: &str) -> Document {
    doc! {
        format!("leases.{field}"): value,
        // Bound by $let, for a server that refuses the clock inside $filter in a filter.
        "$expr": {"$let": {"vars": {"now": NOW}, "in": {"$in": [
            {"$literal": value},
            {"$map": {"input": expression::live("$$now"), "as": "lease", "in": format!("$$lease.{field}")}},
        ]}}},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_listed_as_long_as_their_ranges_are_merged_in_order() {
        let counts = |uses_per_key| {
            usable(&Openable::All, uses_per_key, true).get_document("usage_count").expect("counts").clone()
        };
        assert_eq!(counts(2), doc! {"$in": [0i64, 1i64]});
        assert_eq!(counts(200).get_array("$in").expect("listed").len(), 200);
        assert_eq!(counts(201), doc! {"$gte": 0i64, "$lt": 201i64});
    }
}
