//! The steps: each a part of what is done to a document, written for the server.
//!
//! A [`Change`] puts steps together: its filter is the whole guard, repeated on the document at the moment of the
//! change, and its update a pipeline that reads nothing but that document. Both are total: whatever is in a field, it is
//! judged, never an error.

mod credits;
mod fractional_usage_count;
pub mod guard;
mod last_used;
mod legacy;
mod take_larger;
mod undo;

use bson::{Bson, Document, doc};
use keylend::store::mongodb::expression::{is_missing, is_whole};

/// A step. Each has samples of documents before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Credits become a count, and go to `legacy`.
    Credits,
    /// A fractional count is rounded up.
    FractionalUsageCount,
    /// A document gets a `last_used`.
    LastUsed,
    /// Where count and credits disagree, the larger is taken.
    TakeLarger,
    /// All of it is taken back.
    Undo,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 5] =
        [Self::Credits, Self::FractionalUsageCount, Self::LastUsed, Self::TakeLarger, Self::Undo];

    /// Its word, and the folder of its samples.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credits => "credits",
            Self::FractionalUsageCount => "fractional_usage_count",
            Self::LastUsed => "last_used",
            Self::TakeLarger => "take_larger",
            Self::Undo => "undo",
        }
    }
}

/// One guarded change of documents.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which documents it is for; it matches none of those that it has changed.
    pub guard: Document,
    /// What is done to them, as a pipeline.
    pub update: Vec<Document>,
}

impl Change {
    /// The filter for the documents of these ids.
    pub fn filter(&self, ids: &[Bson]) -> Document {
        doc! {"_id": {"$in": ids}, "$expr": self.guard.clone()}
    }
}

/// What a run does to a document that is pending.
pub fn migrate(take_larger: bool) -> Change {
    // What stands for the document, before anything that was counted while it was undone.
    let base = doc! {"$switch": {
        "branches": [
            {"case": is_missing("usage_count"), "then": credits::used()},
            {"case": legacy::stays(), "then": {"$toLong": "$legacy.base.usage_count"}},
            {"case": is_whole(), "then": {"$toLong": "$usage_count"}},
        ],
        "default": fractional_usage_count::rounded(),
    }};
    let put_away = doc! {"legacy": legacy::kept(base, last_used::last_used())};
    let rewritten = doc! {
        "usage_count": legacy::count(),
        "last_used": "$legacy.base.last_used",
        "credits_left": "$$REMOVE",
        "last_checked": "$$REMOVE",
        "legacy.since": "$$REMOVE",
    };
    let mut update = vec![doc! {"$set": put_away}, doc! {"$set": rewritten}];
    if take_larger {
        update.push(doc! {"$set": take_larger::fields()});
    }
    Change { guard: guard::is_pending(), update }
}

/// What `--take-larger` does to a document that was migrated without it.
pub fn take_larger() -> Change {
    Change { guard: take_larger::is_due(), update: vec![doc! {"$set": take_larger::fields()}] }
}

/// What `--undo` does to a document that is migrated.
pub fn undo() -> Change {
    Change { guard: guard::is_migrated(), update: vec![doc! {"$set": undo::fields()}] }
}
