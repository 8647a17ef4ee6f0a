//! A document gets a `last_used`: its own, else `last_checked`, else now.

use bson::{Document, doc};
use keylend::store::mongodb::expression::{NOW, is_missing};

use super::guard::is_undone;

/// The instant.
pub(super) fn last_used() -> Document {
    let is_date = |path: &str| doc! {"$eq": [{"$type": path}, "date"]};
    let own = doc! {"$cond": [
        is_missing("last_used"),
        {"$cond": [is_date("$last_checked"), "$last_checked", NOW]},
        "$last_used",
    ]};
    // It was used while its migration stood, and this is when.
    let since = doc! {"$and": [is_undone(), is_date("$legacy.since.last_used")]};
    let later = doc! {"$cond": [
        is_date("$last_used"),
        {"$max": ["$last_used", "$legacy.since.last_used"]},
        "$legacy.since.last_used",
    ]};
    doc! {"$cond": [since, later, own]}
}
