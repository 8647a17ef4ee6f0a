//! Credits become a count.

use bson::{Document, doc};
use keylend::store::mongodb::credits;

use super::guard::{has, is_migrated};

/// The credits of the document as they are: those that are there, else those that an earlier run put away.
pub(super) fn of_document() -> Document {
    let put_away = doc! {"$cond": [is_migrated(), "$legacy.credits_left", "$$REMOVE"]};
    doc! {"$cond": [has("credits_left"), "$credits_left", put_away]}
}

/// The count that stands for them. Those that are there are countable, says the guard.
pub(super) fn used() -> Document {
    let put_away = doc! {"$and": [is_migrated(), credits::are_countable("$legacy.credits_left")]};
    credits::used(doc! {"$cond": [
        has("credits_left"),
        "$credits_left",
        {"$cond": [put_away, "$legacy.credits_left", credits::CREDITS]},
    ]})
}
