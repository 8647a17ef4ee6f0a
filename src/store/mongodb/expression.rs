//! The parts of filters and pipelines: a document's fields, judged by the server as `domain::state` judges them.
//!
//! Each is total. `$cond` guards what would fail on a value of another type, and a field that holds an array is
//! compared as a whole, never element by element. `now` is `"$$NOW"`, or an instant where a server cannot use that.

use std::time::Duration;

use bson::{Bson, Document, bson, doc};

use super::credits;
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::pool::COOL_DOWN;
use crate::domain::secret::STANDS_FOR;
use crate::domain::timestamp::millis;
use crate::domain::{DisabledReason, Lapsed, State, Timestamp};

/// The server's clock, frozen when a command starts.
pub const NOW: &str = "$$NOW";

/// An instant as BSON keeps it.
pub(super) fn date(instant: Timestamp) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(instant.as_millis()))
}

/// Whether `usage_count` is one of the number types that are understood: int32, int64, double.
pub(super) fn is_number() -> Document {
    doc! {"$in": [{"$type": "$usage_count"}, ["int", "long", "double"]]}
}

/// The count as a number; -1 where it is none.
pub(super) fn count() -> Document {
    doc! {"$cond": [is_number(), "$usage_count", -1]}
}

/// Whether the count is a whole number from 0 to 2^53. NaN is below 0 for the server.
pub fn is_whole() -> Document {
    doc! {"$and": [
        {"$gte": [count(), 0]},
        {"$lte": [count(), MAX_USAGE_COUNT as i64]},
        {"$eq": [count(), {"$floor": count()}]},
    ]}
}

/// Whether one more can be counted on it: a finite number in the range in which each is exact.
pub(super) fn is_countable() -> Document {
    let most = MAX_USAGE_COUNT as i64;
    doc! {"$and": [is_number(), {"$gte": [count(), -most]}, {"$lt": [count(), most]}]}
}

/// The encrypted secrets that count as such.
pub enum Openable<'a> {
    /// All of them, whichever key they are encrypted with.
    All,
    /// Those that are encrypted with one of these keys.
    By(Vec<&'a str>),
}

/// Whether `api_key` is a secret by the rule of `domain::secret`, or stands for one that can be opened, as far as can be
/// told without opening it.
pub fn is_secret(openable: &Openable<'_>) -> Document {
    let plain = is_text_like(&format!("^(?!{STANDS_FOR})[!-~]{{1,4096}}\\z"));
    let mut sealed = vec![
        bson!({"$eq": [{"$type": "$sealed"}, "binData"]}),
        // A symbol is no name, and equal to the text all the same.
        bson!({"$eq": [{"$type": "$sealed_by"}, "string"]}),
        bson!({"$ne": ["$sealed", "$unreadable"]}),
        bson!(is_text_like(&format!("^{STANDS_FOR}[0-9a-f]{{64}}\\z"))),
    ];
    match openable {
        Openable::By(names) if names.is_empty() => return plain,
        Openable::By(names) => sealed.push(bson!({"$in": ["$sealed_by", {"$literal": names}]})),
        Openable::All => {}
    }
    doc! {"$or": [plain, {"$and": sealed}]}
}

/// Whether `api_key` is a secret, or can stand for one.
pub(super) fn is_kept() -> Document {
    is_text_like("^[!-~]{1,4096}\\z")
}

/// Whether `api_key` is a text of this form.
fn is_text_like(form: &str) -> Document {
    let is_text = doc! {"$eq": [{"$type": "$api_key"}, "string"]};
    doc! {"$and": [is_text.clone(), {"$regexMatch": {"input": {"$cond": [is_text, "$api_key", ""]}, "regex": form}}]}
}

/// Whether the document has an id that names a key.
pub(super) fn has_object_id() -> Document {
    doc! {"$eq": [{"$type": "$_id"}, "objectId"]}
}

/// Whether the document can be understood as a key, whatever its state: the opposite of `invalid`.
pub(super) fn is_valid(openable: &Openable<'_>) -> Document {
    doc! {"$and": [
        has_object_id(),
        is_secret(openable),
        is_whole(),
        has_leases_or_none(),
    ]}
}

/// Whether `leases` is missing, null, or a list of entries with a text in `idem`.
///
/// Anything else is somebody else's mistake: lending on another type than a list would overwrite it, and of entries
/// without that text no two documents fit under the unique index.
pub(super) fn has_leases_or_none() -> Document {
    doc! {"$and": [
        {"$in": [{"$type": "$leases"}, ["missing", "null", "array"]]},
        {"$allElementsTrue": [{"$map": {
            "input": leases(), "as": "lease", "in": {"$eq": [{"$type": "$$lease.idem"}, "string"]},
        }}]},
    ]}
}

/// The list of open leases, lapsed or not; empty where there is none.
pub(super) fn leases() -> Document {
    doc! {"$cond": [{"$isArray": "$leases"}, "$leases", []]}
}

/// The leases that ended a moment ago, which each mark of a step keeps: `{id, b}`, the step that ended it in `b`.
pub(super) fn remembered() -> Document {
    doc! {"$cond": [{"$isArray": "$mark.s"}, "$mark.s", []]}
}

/// How many leases are open, lapsed or not. Entries that nobody understands hold their use too.
pub(super) fn open() -> Document {
    doc! {"$size": leases()}
}

/// The leases that have not lapsed, and the entries that nobody understands, which are left alone.
pub(super) fn live(now: impl Into<Bson>) -> Document {
    let lapsed = doc! {"$and": [
        {"$eq": [{"$type": "$$lease.expires_at"}, "date"]},
        {"$lte": ["$$lease.expires_at", now]},
    ]};
    doc! {"$filter": {"input": leases(), "as": "lease", "cond": {"$not": [lapsed]}}}
}

/// The fields in which `uses` more are counted. Where there is no count, or it was taken away while the key was out on
/// lease, it starts from the credits. One that is no number stays as it is.
pub(super) fn counted(uses: impl Into<Bson> + Clone) -> Document {
    doc! {
        "usage_count": {"$switch": {
            "branches": [
                {"case": is_countable(), "then": {"$add": ["$usage_count", uses.clone()]}},
                {"case": is_missing("usage_count"), "then": {"$add": [credits::start(), uses]}},
            ],
            "default": "$usage_count",
        }},
        "legacy": credits::legacy_once_started(),
    }
}

/// How many leases have lapsed.
fn lapsed_leases(now: impl Into<Bson>) -> Document {
    doc! {"$subtract": [open(), {"$size": live(now)}]}
}

/// The same as [`settled`] for a key that is usable, and so has a whole number as its count.
pub(super) fn settled_usable(lapsed: Lapsed, now: impl Into<Bson> + Clone) -> Document {
    let mut fields = match lapsed {
        Lapsed::Refund => doc! {},
        Lapsed::Count => doc! {"usage_count": {"$add": ["$usage_count", lapsed_leases(now.clone())]}},
    };
    fields.insert("leases", live(now));
    fields
}

/// The fields after the lapsed leases are settled as the pool says.
pub(super) fn settled(lapsed: Lapsed, now: impl Into<Bson> + Clone) -> Document {
    let mut fields = match lapsed {
        Lapsed::Refund => doc! {},
        Lapsed::Count => counted(lapsed_leases(now.clone())),
    };
    fields.insert("leases", live(now));
    fields
}

/// The count where it is one that keylend lends by, else 0. As int64, for a sum of doubles is not exact above 2^53.
pub(super) fn whole_count() -> Document {
    doc! {"$cond": [is_whole(), {"$toLong": count()}, 0_i64]}
}

/// How many leases are open, where keylend understands them; else 0.
pub(super) fn understood_open() -> Document {
    doc! {"$cond": [has_leases_or_none(), open(), 0]}
}

/// How many uses are neither counted nor out on lease, where a key gives `uses_per_key`.
pub(super) fn left(uses_per_key: u32) -> Document {
    let taken = doc! {"$add": [whole_count(), understood_open()]};
    doc! {"$max": [0, {"$subtract": [i64::from(uses_per_key), taken]}]}
}

/// The word of the document's state, as `domain::state` has it: the first that fits, in the order of the contract.
pub(super) fn state(openable: &Openable<'_>, uses_per_key: u32, now: impl Into<Bson>) -> Document {
    doc! {"$switch": {
        "branches": [
            {"case": {"$not": [is_valid(openable)]}, "then": State::Invalid.as_str()},
            {"case": {"$ne": ["$is_active", true]}, "then": State::Disabled.as_str()},
            {"case": {"$gte": [whole_count(), i64::from(uses_per_key)]}, "then": State::Spent.as_str()},
            {"case": is_resting(now), "then": State::Resting.as_str()},
            {"case": {"$lte": [left(uses_per_key), 0]}, "then": State::Leased.as_str()},
        ],
        "default": State::Usable.as_str(),
    }}
}

/// Whether the pool's key file has brought the key.
pub(super) fn is_from_file() -> Document {
    doc! {"$eq": ["$from_file", true]}
}

/// Whether the key was disabled because its line went from the key file.
pub(super) fn is_withdrawn() -> Document {
    doc! {"$eq": ["$disabled_reason", DisabledReason::RemovedFromFile.as_str()]}
}

/// Whether there is nothing in this field.
pub fn is_missing(field: &str) -> Document {
    doc! {"$in": [{"$type": format!("${field}")}, ["missing", "null"]]}
}

/// Whether the document is one of the older ones that still hold credits.
pub(super) fn has_credits() -> Document {
    doc! {"$not": [is_missing("credits_left")]}
}

/// Whether it holds credits and no count: it is not lent before it is migrated.
pub(super) fn needs_migration() -> Document {
    doc! {"$and": [is_missing("usage_count"), has_credits()]}
}

/// Whether the document has a place in an `in_order` pool that keylend understands.
pub(super) fn has_order() -> Document {
    doc! {"$in": [{"$type": "$order"}, ["int", "long"]]}
}

/// The end of a rest that starts now; a longer one is never shortened by a later, shorter one.
pub(super) fn rest_for(rest: Duration) -> Document {
    let until = doc! {"$add": [NOW, millis(rest)]};
    doc! {"$cond": [is_resting(NOW), {"$max": ["$resting_until", &until]}, until]}
}

/// Whether the key rests.
pub(super) fn is_resting(now: impl Into<Bson>) -> Document {
    doc! {"$and": [
        {"$eq": [{"$type": "$resting_until"}, "date"]},
        {"$gt": ["$resting_until", now]},
    ]}
}

/// Whether the key was handed out so recently that others go first.
pub(super) fn is_hot() -> Document {
    doc! {"$and": [
        {"$eq": [{"$type": "$last_used"}, "date"]},
        {"$gt": ["$last_used", {"$subtract": [NOW, millis(COOL_DOWN)]}]},
    ]}
}
