//! `--verify`: every document is read again and reckoned with here, not by the server that changed it.

use keylend::cli::{Failure, output};
use serde::Serialize;

use crate::command::Target;
use crate::formula::Count;
use crate::list::{Named, NamedKeys};
use crate::shape::{Legacy, Migrated, Shape, State};
use crate::stop::Stop;
use crate::walk::{self, walk};

/// What a document is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It never was what a run would change, or is as a run leaves it.
    Right,
    /// The same, and it kept a count below the formula.
    Disagrees,
    /// The same, and its count is below what the migration made: it was reset, or another program wrote it.
    Lowered,
    /// A run would change it.
    Pending,
    /// It cannot be migrated; why.
    Invalid(Vec<String>),
    /// It is not what the formula makes of what `legacy` holds; how.
    Wrong(String),
}

/// Reckons with a document.
pub fn verdict(shape: &Shape) -> Verdict {
    let state = shape.state();
    match (&state, &shape.legacy) {
        (State::Invalid(reasons), _) => Verdict::Invalid(reasons.clone()),
        (State::Pending { .. }, _) => Verdict::Pending,
        (_, Legacy::Migrated(migrated)) => match wrong(migrated) {
            Some(why) => Verdict::Wrong(why),
            None if shape.count.whole().is_some_and(|count| count.cast_signed() < migrated.base) => Verdict::Lowered,
            None if matches!(state, State::Disagrees { .. }) => Verdict::Disagrees,
            None => Verdict::Right,
        },
        _ => Verdict::Right,
    }
}

/// What is wrong between what there was and what was made of it.
fn wrong(migrated: &Migrated) -> Option<String> {
    let Some(formula) = migrated.credits.used() else {
        return Some("legacy.credits_left is no number of credits".to_owned());
    };
    let base = u64::try_from(migrated.base).ok();
    let (expected, or) = match migrated.before {
        Count::Absent => (formula, None),
        // The larger of the two, where that was asked for.
        Count::Whole(count) | Count::Fraction(count) => (count, Some(formula).filter(|formula| *formula > count)),
        Count::Odd(what) => return Some(format!("legacy.usage_count is {what}")),
    };
    if base != Some(expected) && (or.is_none() || base != or) {
        return Some(format!("legacy.base.usage_count is {}, and should be {expected}", migrated.base));
    }
    if !migrated.is_dated {
        return Some("legacy.base.last_used is not made of what was there".to_owned());
    }
    None
}

#[derive(Default)]
struct Summary {
    total: u64,
    right: u64,
    disagree: NamedKeys,
    lowered: NamedKeys,
    pending: NamedKeys,
    invalid: NamedKeys,
    wrong: NamedKeys,
}

#[derive(Serialize)]
struct SummaryReply<'a> {
    pool: &'a str,
    stopped_by: Option<&'static str>,
    total: u64,
    right: u64,
    disagree: u64,
    lowered: u64,
    not_migrated: u64,
    invalid: u64,
    wrong: u64,
    disagreeing_keys: &'a [Named],
    lowered_keys: &'a [Named],
    not_migrated_keys: &'a [Named],
    invalid_keys: &'a [Named],
    wrong_keys: &'a [Named],
}

impl Summary {
    fn add(&mut self, shape: &Shape) {
        self.total += 1;
        let count = || match shape.count.whole() {
            Some(count) => format!("usage_count is {count}"),
            None => "there is no whole usage_count".to_owned(),
        };
        match verdict(shape) {
            Verdict::Right => self.right += 1,
            Verdict::Disagrees => self.disagree.add(shape, vec![count()]),
            Verdict::Lowered => self.lowered.add(shape, vec![count()]),
            Verdict::Pending => self.pending.add(shape, vec![count()]),
            Verdict::Invalid(reasons) => self.invalid.add(shape, reasons),
            Verdict::Wrong(why) => self.wrong.add(shape, vec![why]),
        }
    }

    fn tell(&self, target: &Target, json: bool, stopped_by: Option<&'static str>) -> Result<(), Failure> {
        if json {
            return output::print_json(&SummaryReply {
                pool: target.pool.name.as_str(),
                stopped_by,
                total: self.total,
                right: self.right,
                disagree: self.disagree.number,
                lowered: self.lowered.number,
                not_migrated: self.pending.number,
                invalid: self.invalid.number,
                wrong: self.wrong.number,
                disagreeing_keys: &self.disagree.named,
                lowered_keys: &self.lowered.named,
                not_migrated_keys: &self.pending.named,
                invalid_keys: &self.invalid.named,
                wrong_keys: &self.wrong.named,
            });
        }
        output::print(&target.told())?;
        output::print_pairs(vec![
            ("total", self.total.to_string()),
            ("right", self.right.to_string()),
            ("disagree", self.disagree.number.to_string()),
            ("lowered since", self.lowered.number.to_string()),
            ("not migrated", self.pending.number.to_string()),
            ("invalid", self.invalid.number.to_string()),
            ("wrong", self.wrong.number.to_string()),
        ])?;
        self.disagree.print("disagrees")?;
        self.lowered.print("lowered")?;
        self.pending.print("not migrated")?;
        self.invalid.print("invalid")?;
        self.wrong.print("wrong")
    }
}

pub(crate) async fn run(target: &Target, json: bool, stop: Stop) -> Result<(), Failure> {
    let each = async |page: Vec<Shape>| {
        let mut summary = Summary::default();
        page.iter().for_each(|shape| summary.add(shape));
        Ok(summary)
    };
    let walked = walk(target, json, stop, each).await?;
    let summary = &walked.summary;
    summary.tell(target, json, walked.stopped_by)?;
    walked.end(summary.pending.number + summary.invalid.number + summary.wrong.number == 0)
}

impl walk::Summary for Summary {
    fn join(&mut self, other: Self) {
        self.total += other.total;
        self.right += other.right;
        self.disagree.join(other.disagree);
        self.lowered.join(other.lowered);
        self.pending.join(other.pending);
        self.invalid.join(other.invalid);
        self.wrong.join(other.wrong);
    }
}
