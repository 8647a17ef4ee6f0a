//! The run itself: every document is read and judged, and those that are due are changed.

use bson::Bson;
use keylend::cli::{Failure, output};
use keylend::store::StoreError;
use serde::Serialize;

use crate::command::Target;
use crate::formula::Count;
use crate::histogram::{Bucket, BucketReply, Histogram};
use crate::list::{self, Listed, Named, NamedKeys};
use crate::pages::{self, Keys, TRIES};
use crate::shape::{Shape, State};
use crate::steps::{self, Change};
use crate::stop::Stop;
use crate::walk::{self, walk};

/// What became of the documents.
#[derive(Clone, Debug, Default)]
struct Summary {
    total: u64,
    migrated: u64,
    raised: u64,
    already_done: u64,
    disagree: NamedKeys,
    invalid: NamedKeys,
    /// Those that others changed again and again, or that were not come to.
    left: u64,
    before: Histogram,
    after: Histogram,
}

#[derive(Serialize)]
struct SummaryReply<'a> {
    pool: &'a str,
    dry_run: bool,
    stopped_by: Option<&'static str>,
    total: u64,
    migrated: u64,
    raised: u64,
    already_done: u64,
    disagree: u64,
    invalid: u64,
    left: u64,
    before: Vec<BucketReply>,
    after: Vec<BucketReply>,
    disagreeing_keys: &'a [Named],
    invalid_keys: &'a [Named],
    keys: Vec<Listed>,
}

/// What is asked of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) dry_run: bool,
    pub(crate) take_larger: bool,
    pub(crate) list: usize,
    pub(crate) json: bool,
}

pub(crate) async fn run(target: &Target, asked: Asked, stop: Stop) -> Result<(), Failure> {
    let run = Run {
        keys: &target.keys,
        asked,
        migrate: steps::migrate(asked.take_larger),
        take_larger: steps::take_larger(),
    };
    let begun = target.begin("migrate", asked.dry_run).await?;
    let walked = walk(target, asked.json, stop, async |page| run.page(page).await).await?;
    let summary = &walked.summary;
    if let Some(begun) = begun {
        begun.done(None, &format!("credits were migrated: {} keys", summary.migrated + summary.raised));
    }
    summary.tell(target, asked, walked.stopped_by).await?;
    walked.end(summary.invalid.number + summary.left == 0)
}

struct Run<'a> {
    keys: &'a Keys,
    asked: Asked,
    migrate: Change,
    take_larger: Change,
}

impl Run<'_> {
    /// Does what is due in one page.
    async fn page(&self, page: Vec<Shape>) -> Result<Summary, StoreError> {
        let mut summary = Summary { total: page.len() as u64, ..Summary::default() };
        for shape in &page {
            summary.before.add(bucket(shape));
        }
        let mut due = self.without_what_is_done(&mut summary, page);
        if self.asked.dry_run {
            for (shape, state) in &due {
                summary.changed(shape, state, self.asked.take_larger);
            }
            return Ok(summary);
        }
        for _ in 0..TRIES {
            let ids = |wanted: fn(&State) -> bool| -> Vec<Bson> {
                due.iter().filter(|(_, state)| wanted(state)).map(|(shape, _)| shape.id.clone()).collect()
            };
            let (pending, disagreeing) = (ids(is_pending), ids(|state| !is_pending(state)));
            let migrated = pages::change(self.keys, &pending, &self.migrate).await?;
            let raised = pages::change(self.keys, &disagreeing, &self.take_larger).await?;
            if migrated + raised == due.len() as u64 {
                for (shape, state) in &due {
                    summary.changed(shape, state, self.asked.take_larger);
                }
                return Ok(summary);
            }
            // Somebody else came first on some of them: they are judged anew.
            let again = pages::again(self.keys, &[pending, disagreeing].concat()).await?;
            due = self.without_what_is_done(&mut summary, again);
            summary.migrated += migrated;
            summary.raised += raised;
            summary.already_done = summary.already_done.saturating_sub(migrated + raised);
        }
        summary.left += due.len() as u64;
        for (shape, _) in &due {
            summary.after.add(bucket(shape));
        }
        Ok(summary)
    }

    /// Tells of what needs no change, and gives back the others.
    fn without_what_is_done(&self, summary: &mut Summary, page: Vec<Shape>) -> Vec<(Shape, State)> {
        let mut due = Vec::new();
        for shape in page {
            match shape.state() {
                State::Invalid(reasons) => {
                    summary.after.add(bucket(&shape));
                    summary.invalid.add(&shape, reasons);
                }
                state @ State::Pending { .. } => due.push((shape, state)),
                state @ State::Disagrees { .. } if self.asked.take_larger => due.push((shape, state)),
                State::Disagrees { by } => {
                    summary.after.add(bucket(&shape));
                    summary.already_done += 1;
                    let count = shape.count.whole().unwrap_or(0);
                    summary.disagree.add(&shape, disagreement(count, count + by));
                }
                State::Done => {
                    summary.after.add(bucket(&shape));
                    summary.already_done += 1;
                }
            }
        }
        due
    }
}

fn is_pending(state: &State) -> bool {
    matches!(state, State::Pending { .. })
}

fn bucket(shape: &Shape) -> Bucket {
    match shape.count {
        _ if matches!(shape.state(), State::Invalid(_)) => Bucket::Invalid,
        Count::Absent => Bucket::None,
        Count::Fraction(_) => Bucket::Fraction,
        Count::Whole(count) => Bucket::of(count),
        Count::Odd(_) => Bucket::Invalid,
    }
}

fn disagreement(count: u64, formula: u64) -> Vec<String> {
    vec![format!("usage_count is {count}, by the credits it would be {formula}")]
}

impl walk::Summary for Summary {
    fn join(&mut self, other: Self) {
        self.total += other.total;
        self.migrated += other.migrated;
        self.raised += other.raised;
        self.already_done += other.already_done;
        self.left += other.left;
        self.disagree.join(other.disagree);
        self.invalid.join(other.invalid);
        self.before.join(other.before);
        self.after.join(other.after);
    }
}

impl Summary {
    /// A document that was changed, or would be.
    fn changed(&mut self, shape: &Shape, state: &State, take_larger: bool) {
        match *state {
            State::Pending { keeping, formula } => {
                self.migrated += 1;
                match formula {
                    Some(formula) if take_larger => self.after.add(Bucket::of(formula)),
                    Some(formula) => {
                        self.after.add(Bucket::of(keeping));
                        self.disagree.add(shape, disagreement(keeping, formula));
                    }
                    None => self.after.add(Bucket::of(keeping)),
                }
            }
            State::Disagrees { by } => {
                self.raised += 1;
                self.after.add(Bucket::of(shape.count.whole().unwrap_or(0) + by));
            }
            State::Invalid(_) | State::Done => {}
        }
    }

    async fn tell(&self, target: &Target, asked: Asked, stopped_by: Option<&'static str>) -> Result<(), Failure> {
        let keys = list::first(&target.keys, asked.list, asked.take_larger && asked.dry_run).await?;
        if asked.json {
            return output::print_json(&SummaryReply {
                pool: target.pool.name.as_str(),
                dry_run: asked.dry_run,
                stopped_by,
                total: self.total,
                migrated: self.migrated,
                raised: self.raised,
                already_done: self.already_done,
                disagree: self.disagree.number,
                invalid: self.invalid.number,
                left: self.left,
                before: self.before.reply(),
                after: self.after.reply(),
                disagreeing_keys: &self.disagree.named,
                invalid_keys: &self.invalid.named,
                keys,
            });
        }
        let migrated = if asked.dry_run { "would be migrated" } else { "migrated" };
        let mut pairs = vec![
            ("total", self.total.to_string()),
            (migrated, self.migrated.to_string()),
            ("already done", self.already_done.to_string()),
            ("disagree", self.disagree.number.to_string()),
            ("invalid", self.invalid.number.to_string()),
        ];
        if self.raised > 0 {
            pairs.insert(2, (if asked.dry_run { "would be raised" } else { "raised" }, self.raised.to_string()));
        }
        if self.left > 0 {
            pairs.push(("left, changed by others: run it again", self.left.to_string()));
        }
        output::print(&target.told())?;
        output::print_pairs(pairs)?;
        if self.total > 0 {
            output::print("")?;
            let row = |bucket: Bucket| {
                vec![bucket.told(), self.before.keys(bucket).to_string(), self.after.keys(bucket).to_string()]
            };
            let rows = self.before.buckets_with(&self.after).into_iter().map(row).collect();
            output::print_table(&["USES", "KEYS BEFORE", "KEYS AFTER"], rows)?;
        }
        if self.disagree.number + self.invalid.number > 0 {
            output::print("")?;
        }
        self.disagree.print("disagrees")?;
        self.invalid.print("invalid")?;
        list::print(keys)
    }
}
