//! What is replaced goes to `legacy`, as it was; what was not there is not there either.

use bson::{Document, doc};
use keylend::domain::key::MAX_USAGE_COUNT;
use keylend::store::mongodb::expression::is_whole;

use super::credits;
use super::guard::{has, is_migrated, is_undone};

/// The sub-document. `base` and `last_used` are what the same step makes of the document, without what was counted since;
/// `disagrees` says where the formula's count is noted beside a smaller one that is kept.
pub(super) fn kept(base: Document, last_used: Document, disagrees: Option<Document>) -> Document {
    let put_away = doc! {"$cond": [is_migrated(), "$legacy.last_checked", "$$REMOVE"]};
    let mut kept = doc! {
        "credits_left": credits::of_document(),
        "last_checked": {"$cond": [has("last_checked"), "$last_checked", put_away]},
        "usage_count": "$usage_count",
        "last_used": "$last_used",
        "base": {"usage_count": base, "last_used": last_used},
    };
    if let Some(disagrees) = disagrees {
        kept.insert("formula", doc! {"$cond": [disagrees, credits::used(), "$$REMOVE"]});
    }
    // Until the count has taken it up.
    kept.insert("since", doc! {"$cond": [is_undone(), "$legacy.since", "$$REMOVE"]});
    // What somebody else had put there.
    let ours = doc! {"$or": [is_migrated(), is_undone()]};
    kept.insert("legacy", doc! {"$cond": [ours, "$legacy.legacy", "$legacy"]});
    // A value of its own: a plain document would be set into what is there.
    doc! {"$mergeObjects": [kept]}
}

/// The count of a document whose `legacy` is [`kept`]: one that is kept with its type, else what the step made of it with
/// what was counted since.
pub(super) fn count() -> Document {
    let is_kept = doc! {"$and": [
        is_whole(),
        {"$eq": ["$usage_count", "$legacy.base.usage_count"]},
        {"$not": [has("legacy.since")]},
    ]};
    let since = doc! {"$cond": [has("legacy.since"), "$legacy.since.usage_count", 0_i64]};
    // It stays one that can be counted on, whatever others wrote there.
    let sum = doc! {"$min": [MAX_USAGE_COUNT as i64, {"$add": ["$legacy.base.usage_count", since]}]};
    doc! {"$cond": [is_kept, "$usage_count", {"$toLong": {"$max": [0, sum]}}]}
}
