//! All of it is taken back.

use bson::{Document, doc};
use keylend::domain::key::MAX_USAGE_COUNT;

use super::guard::{has, is_whole};

/// The fields, as `legacy` has them.
pub(super) fn fields() -> Document {
    let base = "$legacy.base.usage_count";
    let before = "$legacy.usage_count";
    // A document with a whole count could be lent before, and goes on: what is counted stays in its count.
    let goes_on = is_whole(before);
    let added = doc! {"$subtract": [base, before]};
    // A count below what the run made was reset since, or written by another program: nothing that was added is in it.
    let holds_added = doc! {"$and": [is_number(), {"$gte": ["$usage_count", base]}, {"$ne": [base, before]}]};
    let without_added = doc! {"$switch": {
        "branches": [
            {"case": {"$not": [holds_added]}, "then": "$usage_count"},
            // With the type that it had.
            {"case": {"$eq": ["$usage_count", base]}, "then": before},
        ],
        "default": {"$subtract": [{"$cond": [is_number(), "$usage_count", 0]}, added]},
    }};
    let is_as_made = doc! {"$eq": ["$last_used", "$legacy.base.last_used"]};
    doc! {
        "usage_count": {"$cond": [&goes_on, without_added, before]},
        "last_used": {"$cond": [
            {"$and": [&goes_on, {"$not": [is_as_made]}]}, "$last_used", "$legacy.last_used",
        ]},
        "credits_left": put_back("credits_left"),
        "last_checked": put_back("last_checked"),
        "legacy": left(goes_on),
    }
}

/// What an older program wrote since is newer than what was put away.
fn put_back(field: &str) -> Document {
    doc! {"$cond": [has(field), format!("${field}"), format!("$legacy.{field}")]}
}

/// What stays: what was counted since, where the count that goes back cannot hold it, and what was somebody else's.
fn left(goes_on: Document) -> Document {
    let since = doc! {"$subtract": [
        {"$toLong": {"$ceil": {"$cond": [is_number(), "$usage_count", "$legacy.base.usage_count"]}}},
        "$legacy.base.usage_count",
    ]};
    // It stays one that is understood, whatever others wrote in the count.
    let since = doc! {"$max": [-(MAX_USAGE_COUNT as i64), since]};
    let was_used = doc! {"$and": [
        {"$eq": [{"$type": "$last_used"}, "date"]},
        {"$ne": ["$last_used", "$legacy.base.last_used"]},
    ]};
    let left = doc! {"$mergeObjects": [{
        "since": {"usage_count": &since, "last_used": {"$cond": [was_used, "$last_used", "$$REMOVE"]}},
        "legacy": "$legacy.legacy",
    }]};
    doc! {"$cond": [{"$or": [goes_on, {"$eq": [since, 0]}]}, "$legacy.legacy", left]}
}

/// Whether the count is a number that can be reckoned with.
fn is_number() -> Document {
    let most = MAX_USAGE_COUNT as i64;
    let number = doc! {"$cond": [
        {"$in": [{"$type": "$usage_count"}, ["int", "long", "double"]]}, "$usage_count", f64::NAN,
    ]};
    doc! {"$and": [{"$gte": [&number, -most]}, {"$lte": [number, most]}]}
}
