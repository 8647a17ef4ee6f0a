//! Where count and credits disagree, the larger is taken.

use bson::{Document, doc};
use keylend::domain::key::MAX_USAGE_COUNT;
use keylend::store::mongodb::credits::is_whole_from;

use super::credits;
use super::guard::{has, is_count, is_counted_on, is_migrated, is_pending, is_valid, number};

/// Whether a pending document has a count, and credits by which more uses are gone than it makes, rounded up.
pub(super) fn disagrees() -> Document {
    let count = "$usage_count";
    doc! {"$and": [has("credits_left"), is_count(count), {"$lt": [{"$ceil": number(count)}, credits::used()]}]}
}

/// Whether a migrated document has a formula noted beside a smaller count, and was not set back since.
pub(super) fn is_noted() -> Document {
    doc! {"$and": [
        is_whole_from("$legacy.formula", 0),
        {"$gt": ["$legacy.formula", "$legacy.base.usage_count"]},
        is_counted_on(),
    ]}
}

/// Whether a document was migrated with the smaller count.
pub(super) fn is_due() -> Document {
    doc! {"$and": [is_migrated(), is_noted(), is_valid(), {"$not": [is_pending()]}]}
}

/// The count grows by what the formula was larger, so that what was counted since stays in it. For migrated documents;
/// where nothing is noted, nothing grows.
pub(super) fn fields() -> Document {
    let more = doc! {"$subtract": ["$legacy.formula", "$legacy.base.usage_count"]};
    let raised = doc! {"$toLong": {"$min": [MAX_USAGE_COUNT as i64, {"$add": ["$usage_count", more]}]}};
    doc! {
        "usage_count": {"$cond": [is_noted(), raised, "$usage_count"]},
        "legacy.base.usage_count": {"$cond": [is_noted(), {"$toLong": "$legacy.formula"}, "$legacy.base.usage_count"]},
        "legacy.formula": "$$REMOVE",
    }
}
