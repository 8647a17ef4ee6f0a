//! Credits, as the older programs counted: what a document holds that has no count yet.
//!
//! A fresh key had 25 of them, one use each. `keylend-migrate` turns them into counts for good and keeps what it
//! replaced under `legacy`; where that was undone, `legacy.since` holds what was counted in between.

use bson::{Bson, Document, doc};

use super::expression::is_missing;
use crate::domain::key::MAX_USAGE_COUNT;

/// The credits of a fresh key.
pub const CREDITS: i64 = 25;

/// The fewest and the most credits that a count can stand for.
pub const LEAST_CREDITS: i64 = CREDITS - MAX_USAGE_COUNT as i64;
/// See [`LEAST_CREDITS`].
pub const MOST_CREDITS: i64 = MAX_USAGE_COUNT as i64;

/// Whether these credits, the value of an expression, are a number that a count can stand for. NaN, the infinities and
/// what is no number are not.
pub fn are_countable(credits: impl Into<Bson> + Clone) -> Document {
    doc! {"$and": [
        {"$in": [{"$type": credits.clone()}, ["int", "long", "double", "decimal"]]},
        {"$gte": [credits.clone(), LEAST_CREDITS]},
        {"$lte": [credits, MOST_CREDITS]},
    ]}
}

/// The count that stands for these credits, which must be countable: what is gone of the 25, a use that was started
/// counting as one; int64.
pub fn used(credits: impl Into<Bson>) -> Document {
    doc! {"$toLong": {"$max": [0, {"$subtract": [CREDITS, {"$floor": credits}]}]}}
}

/// The count from which a document without one is counted on: by its credits, 0 where they say nothing, with what was
/// counted before its migration was undone.
pub(super) fn start() -> Document {
    let by_credits = doc! {"$cond": [are_countable("$credits_left"), used("$credits_left"), 0_i64]};
    let counted = doc! {"$add": [&by_credits, "$legacy.since.usage_count"]};
    doc! {"$cond": [has_since(), {"$max": [0_i64, counted]}, by_credits]}
}

/// What stays in `legacy` when a count starts from [`start`]: what was counted since is in that count now.
pub(super) fn legacy_once_started() -> Document {
    doc! {"$cond": [{"$and": [is_missing("usage_count"), has_since()]}, "$legacy.legacy", "$legacy"]}
}

/// What stays in `legacy` when the count is set anew: nothing by which it would be raised to what the credits said.
pub(super) fn legacy_once_set() -> Document {
    let fields = doc! {"$objectToArray": {"$cond": [is_migrated(), "$legacy", {}]}};
    let others = doc! {"$filter": {"input": fields, "as": "field", "cond": {"$ne": ["$$field.k", "formula"]}}};
    let kept = doc! {"$cond": [is_migrated(), {"$arrayToObject": others}, "$legacy"]};
    doc! {"$cond": [has_since(), "$legacy.legacy", kept]}
}

/// Whether `legacy` is what a migration leaves.
pub fn is_migrated() -> Document {
    doc! {"$and": [
        {"$eq": [{"$type": "$legacy"}, "object"]},
        {"$eq": [{"$type": "$legacy.base"}, "object"]},
        is_whole_from("$legacy.base.usage_count", 0),
    ]}
}

/// Whether the document's migration was undone, and it was counted on in between.
pub fn has_since() -> Document {
    doc! {"$and": [
        {"$eq": [{"$type": "$legacy"}, "object"]},
        {"$eq": [{"$type": "$legacy.base"}, "missing"]},
        is_whole_from("$legacy.since.usage_count", -(MAX_USAGE_COUNT as i64)),
    ]}
}

/// Whether there is an integer at a path, from `least` to 2^53: larger ones would overflow what is reckoned with them.
pub fn is_whole_from(path: &str, least: i64) -> Document {
    doc! {"$and": [
        {"$in": [{"$type": path}, ["int", "long"]]},
        {"$gte": [path, least]},
        {"$lte": [path, MAX_USAGE_COUNT as i64]},
    ]}
}
