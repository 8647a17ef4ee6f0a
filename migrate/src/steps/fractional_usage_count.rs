//! A fractional count, as the older script wrote it, is rounded up: a use that was started counts.

use bson::{Document, doc};

use super::guard::is_fraction;

/// The count, rounded up; 0 where it is no such count.
pub(super) fn rounded() -> Document {
    doc! {"$toLong": {"$ceil": {"$cond": [is_fraction("$usage_count"), "$usage_count", 0]}}}
}
