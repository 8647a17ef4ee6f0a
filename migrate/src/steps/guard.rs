//! What a document is, judged by the server; the same as [`crate::shape`].

use bson::{Document, doc};
use keylend::domain::key::MAX_USAGE_COUNT;
pub use keylend::store::mongodb::credits::is_migrated;
use keylend::store::mongodb::credits::{are_countable, has_since};
use keylend::store::mongodb::expression::{Openable, is_missing, is_secret};

/// Whether the field is there, null or not.
pub fn has(field: &str) -> Document {
    doc! {"$ne": [{"$type": format!("${field}")}, "missing"]}
}

/// Whether a run changes the document.
pub fn is_pending() -> Document {
    doc! {"$and": [
        {"$or": [
            has("credits_left"),
            has("last_checked"),
            is_missing("usage_count"),
            is_fraction("$usage_count"),
            is_undone(),
        ]},
        is_valid(),
    ]}
}

/// Whether the document can be migrated at all.
pub fn is_valid() -> Document {
    doc! {"$and": [
        {"$or": [{"$not": [has("credits_left")]}, are_countable("$credits_left")]},
        {"$or": [is_missing("usage_count"), is_count("$usage_count")]},
        {"$not": [is_odd()]},
        is_secret(&Openable::All),
    ]}
}

/// Whether `legacy` is what an undone migration leaves of counts in between.
pub fn is_undone() -> Document {
    has_since()
}

/// Whether a migrated document was only counted on: its count is whole, and none below what the migration made.
pub fn is_counted_on() -> Document {
    let count = "$usage_count";
    doc! {"$and": [is_whole(count), {"$gte": [count, "$legacy.base.usage_count"]}]}
}

/// Whether `legacy` looks like the migration's and is not.
fn is_odd() -> Document {
    doc! {"$and": [
        {"$eq": [{"$type": "$legacy"}, "object"]},
        {"$or": [has("legacy.base"), has("legacy.since")]},
        {"$not": [is_migrated()]},
        {"$not": [is_undone()]},
    ]}
}

/// The number at a path; -1 where there is none. NaN is below 0 for the server.
pub fn number(path: &str) -> Document {
    doc! {"$cond": [{"$in": [{"$type": path}, ["int", "long", "double"]]}, path, -1]}
}

/// Whether there is a number from 0 to 2^53 at a path.
pub fn is_count(path: &str) -> Document {
    doc! {"$and": [{"$gte": [number(path), 0]}, {"$lte": [number(path), MAX_USAGE_COUNT as i64]}]}
}

/// Whether the number at a path is a whole count.
pub fn is_whole(path: &str) -> Document {
    doc! {"$and": [is_count(path), {"$eq": [number(path), {"$floor": number(path)}]}]}
}

/// Whether the number at a path is a count with a fraction.
pub fn is_fraction(path: &str) -> Document {
    doc! {"$and": [is_count(path), {"$ne": [number(path), {"$floor": number(path)}]}]}
}
