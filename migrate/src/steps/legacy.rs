//! What is replaced goes to `legacy`, as it was; what was not there is not there either.

use bson::{Document, doc};
use keylend::domain::key::MAX_USAGE_COUNT;

use super::guard::{has, is_counted_on, is_migrated, is_undone};
use super::{credits, take_larger};

/// Whether what an earlier run kept of the count stays: no credits were written since, and the count was only counted on.
pub(super) fn stays() -> Document {
    doc! {"$and": [is_migrated(), {"$not": [has("credits_left")]}, is_counted_on()]}
}

/// The sub-document. `base` and `last_used` are what the same step makes of the document, without what was counted since;
/// `formula` is the count by the credits, beside a smaller one that is kept.
pub(super) fn kept(base: Document, last_used: Document) -> Document {
    let put_away = doc! {"$cond": [is_migrated(), "$legacy.last_checked", "$$REMOVE"]};
    let noted = doc! {"$and": [stays(), take_larger::is_noted()]};
    let formula = doc! {"$switch": {
        "branches": [
            {"case": noted, "then": "$legacy.formula"},
            {"case": take_larger::disagrees(), "then": credits::used()},
        ],
        "default": "$$REMOVE",
    }};
    let kept = doc! {
        "credits_left": credits::of_document(),
        "last_checked": {"$cond": [has("last_checked"), "$last_checked", put_away]},
        "usage_count": {"$cond": [stays(), "$legacy.usage_count", "$usage_count"]},
        "last_used": "$last_used",
        "base": {"usage_count": base, "last_used": last_used},
        "formula": formula,
        // Until the count has taken it up.
        "since": {"$cond": [is_undone(), "$legacy.since", "$$REMOVE"]},
        // What somebody else had put there.
        "legacy": {"$cond": [{"$or": [is_migrated(), is_undone()]}, "$legacy.legacy", "$legacy"]},
    };
    // A value of its own: a plain document would be set into what is there.
    doc! {"$mergeObjects": [kept]}
}

/// The count of a document whose `legacy` is [`kept`]: one that is kept with its type, else what the step made of it with
/// what was counted since.
pub(super) fn count() -> Document {
    let is_kept = doc! {"$and": [is_counted_on(), {"$not": [has("legacy.since")]}]};
    let since = doc! {"$cond": [has("legacy.since"), "$legacy.since.usage_count", 0_i64]};
    // It stays one that can be counted on, whatever others wrote there.
    let sum = doc! {"$min": [MAX_USAGE_COUNT as i64, {"$add": ["$legacy.base.usage_count", since]}]};
    doc! {"$cond": [is_kept, "$usage_count", {"$toLong": {"$max": [0, sum]}}]}
}
