//! Credits become a count.

use bson::{Document, doc};
use keylend::store::mongodb::credits;

use super::guard::{has, is_migrated};

/// The credits of the document: those that are there, else those that an earlier run put away.
pub(super) fn of_document() -> Document {
    let put_away = doc! {"$cond": [is_migrated(), "$legacy.credits_left", "$$REMOVE"]};
    doc! {"$cond": [has("credits_left"), "$credits_left", put_away]}
}

/// The count that stands for them.
pub(super) fn used() -> Document {
    let used = doc! {"$cond": [credits::are_countable("$$credits"), credits::used("$$credits"), 0_i64]};
    doc! {"$let": {"vars": {"credits": of_document()}, "in": used}}
}
