//! A document as the migration sees it: what it is, and what a run would make of it. The server's guards are in
//! [`crate::steps::guard`]; a test holds the two together over every BSON type in every field.

use bson::{Bson, Document, doc};
use keylend::domain::key::MAX_USAGE_COUNT;
use keylend::domain::{Secret, Timestamp};
use keylend::store::mongodb::document;

use crate::formula::{Count, Credits, in_words};

/// The largest number that is reckoned with.
const MOST: i64 = MAX_USAGE_COUNT.cast_signed();

/// What is in `legacy`.
#[derive(Clone, Debug, PartialEq)]
pub enum Legacy {
    /// Nothing, or something that is not the migration's.
    None,
    /// The document is migrated.
    Migrated(Migrated),
    /// Its migration was undone, and so much was counted in between; below 0 where a reset took it away.
    Undone(i64),
    /// A `base` or `since` that the migration did not write.
    Odd,
}

/// What the migration kept of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Migrated {
    /// The count that was there.
    pub before: Count,
    /// The credits that were there.
    pub credits: Credits,
    /// What the migration made of the two: what is above it in `usage_count` was counted since.
    pub base: i64,
    /// The formula's count, where a smaller one was kept.
    pub formula: Option<i64>,
    /// Whether the `last_used` that it made is its own, else `last_checked`, else any date; or later, where it was used
    /// while an earlier migration stood.
    pub is_dated: bool,
}

impl Migrated {
    /// By how much the formula is larger than what was kept, where the document, whose count is `count`, was not set back
    /// since; within 2^53.
    fn noted(&self, count: u64) -> Option<u64> {
        let formula = self.formula.filter(|formula| *formula > self.base)?;
        (count.cast_signed() >= self.base).then(|| formula.abs_diff(self.base).min(MAX_USAGE_COUNT - count))
    }
}

/// What a document is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It cannot be migrated, and is left as it is; why, without any value.
    Invalid(Vec<String>),
    /// A run changes it.
    Pending {
        /// The count that it makes, where it keeps the one that is there.
        keeping: u64,
        /// The count by the formula, where that is larger.
        formula: Option<u64>,
    },
    /// It is migrated, with a count that was smaller than the formula's by so much.
    Disagrees {
        /// By how much.
        by: u64,
    },
    /// There is nothing to do.
    Done,
}

/// A document, of each field what the migration must know.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its id, as it is.
    pub id: Bson,
    /// Its secret, or what is there in its place; None = it is encrypted.
    pub secret: Result<Option<Secret>, String>,
    /// Its credits.
    pub credits: Credits,
    /// Its count.
    pub count: Count,
    /// Whether there is a `last_checked`.
    pub has_last_checked: bool,
    /// When it was last used, or will be said to have been; None = that is not known from the document.
    pub last_used: Option<Timestamp>,
    /// Whether it is switched on.
    pub is_active: bool,
    /// What is in `legacy`.
    pub legacy: Legacy,
}

impl Shape {
    /// The fields that are read.
    pub fn projection() -> Document {
        doc! {
            "api_key": 1, "sealed": 1, "sealed_by": 1, "unreadable": 1, "credits_left": 1, "usage_count": 1, "last_checked": 1, "last_used": 1, "is_active": 1,
            "legacy.base": 1, "legacy.since": 1, "legacy.formula": 1, "legacy.credits_left": 1,
            "legacy.usage_count": 1, "legacy.last_used": 1, "legacy.last_checked": 1,
        }
    }

    /// The shape of a document.
    pub fn of(document: &Document) -> Self {
        Self {
            id: document.get("_id").cloned().unwrap_or(Bson::Undefined),
            secret: secret(document),
            credits: Credits::of(document.get("credits_left")),
            count: Count::of(document.get("usage_count")),
            has_last_checked: document.contains_key("last_checked"),
            last_used: last_used(document),
            is_active: matches!(document.get("is_active"), Some(Bson::Boolean(true))),
            legacy: legacy(document.get("legacy")),
        }
    }

    /// Its id in words: text could be a secret, so of an id like that no more than its type is told.
    pub fn told_id(&self) -> String {
        match &self.id {
            Bson::ObjectId(id) => id.to_hex(),
            Bson::Int32(number) => format!("the number {number}"),
            Bson::Int64(number) => format!("the number {number}"),
            other => format!("an _id that is {}", in_words(other)),
        }
    }

    /// What it is.
    pub fn state(&self) -> State {
        let reasons = self.reasons();
        if !reasons.is_empty() {
            return State::Invalid(reasons);
        }
        let noted = || match (&self.legacy, self.count) {
            (Legacy::Migrated(migrated), Count::Whole(count)) => migrated.noted(count),
            _ => None,
        };
        match self.pending() {
            Some(pending) => pending,
            None => noted().map_or(State::Done, |by| State::Disagrees { by }),
        }
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Err(why) = &self.secret {
            reasons.push(format!("api_key {why}"));
        }
        if let Credits::Odd(what) = self.credits {
            reasons.push(format!("credits_left is {what}"));
        }
        if let Count::Odd(what) = self.count {
            reasons.push(format!("usage_count is {what}"));
        }
        if self.legacy == Legacy::Odd {
            reasons.push("legacy is not as a migration leaves it".to_owned());
        }
        reasons
    }

    fn pending(&self) -> Option<State> {
        let since = match self.legacy {
            Legacy::Undone(since) => since,
            _ => 0,
        };
        let has_credits = self.credits != Credits::Missing;
        let is_new = has_credits || self.has_last_checked || matches!(self.legacy, Legacy::Undone(_));
        let formula = match (&self.legacy, self.credits) {
            (Legacy::Migrated(migrated), Credits::Missing) => migrated.credits.used().unwrap_or(0),
            (_, credits) => credits.used()?,
        };
        let own = match self.count {
            Count::Whole(count) if is_new => count,
            Count::Absent => formula,
            Count::Fraction(count) => count,
            Count::Whole(_) | Count::Odd(_) => return None,
        };
        let formula = match &self.legacy {
            // What an earlier run noted stays so much larger.
            Legacy::Migrated(migrated) if !has_credits => migrated.noted(own).map(|more| own + more),
            _ => Some(formula).filter(|formula| has_credits && self.count != Count::Absent && own < *formula),
        };
        let with_since = |count: u64| count.saturating_add_signed(since).min(MAX_USAGE_COUNT);
        Some(State::Pending { keeping: with_since(own), formula: formula.map(with_since) })
    }
}

fn last_used(document: &Document) -> Option<Timestamp> {
    match document.get("last_used") {
        None | Some(Bson::Null) => document::instant(document.get("last_checked")),
        own => document::instant(own),
    }
}

fn secret(document: &Document) -> Result<Option<Secret>, String> {
    match document.get("api_key") {
        None => Err("is missing".to_owned()),
        Some(Bson::String(text)) if document::is_sealed(document, text) => Ok(None),
        Some(Bson::String(text)) => Secret::parse(text).map(Some).map_err(|why| why.to_string()),
        Some(other) => Err(format!("is {}", in_words(other))),
    }
}

fn legacy(field: Option<&Bson>) -> Legacy {
    let Some(Bson::Document(legacy)) = field else { return Legacy::None };
    let count_in = |part: &Bson, least| whole_from(part.as_document()?.get("usage_count"), least);
    match (legacy.get("base"), legacy.get("since")) {
        (None, None) => Legacy::None,
        (Some(base), _) => match count_in(base, 0) {
            Some(count) => Legacy::Migrated(Migrated {
                before: Count::of(legacy.get("usage_count")),
                credits: Credits::of(legacy.get("credits_left")),
                base: count,
                formula: whole_from(legacy.get("formula"), 0),
                is_dated: is_dated(legacy, base),
            }),
            None => Legacy::Odd,
        },
        (None, Some(since)) => count_in(since, -MOST).map_or(Legacy::Odd, Legacy::Undone),
    }
}

/// See [`Migrated::is_dated`].
fn is_dated(legacy: &Document, base: &Bson) -> bool {
    let made = base.as_document().and_then(|base| base.get("last_used"));
    let date = document::instant(made);
    match legacy.get("last_used") {
        None | Some(Bson::Null) => date.is_some() && date >= document::instant(legacy.get("last_checked")),
        Some(own @ Bson::DateTime(_)) => date >= document::instant(Some(own)),
        // No date, kept as it is.
        Some(_) => made.is_some(),
    }
}

/// An integer from `least` to 2^53, as the migration writes them.
fn whole_from(field: Option<&Bson>, least: i64) -> Option<i64> {
    let number = match field {
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Int64(number)) => *number,
        _ => return None,
    };
    (least..=MOST).contains(&number).then_some(number)
}
