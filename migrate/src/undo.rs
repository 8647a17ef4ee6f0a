//! `--undo`: the documents as they were.

use bson::Bson;
use keylend::cli::{Failure, confirm, output};
use keylend::store::StoreError;
use serde::Serialize;

use crate::command::Target;
use crate::pages::{self, Keys, TRIES};
use crate::shape::{Legacy, Shape};
use crate::steps::{self, Change};
use crate::stop::Stop;
use crate::walk::{self, walk};

/// What became of the documents.
#[derive(Clone, Debug, Default, Serialize)]
struct Summary {
    total: u64,
    undone: u64,
    /// Those that no run had migrated.
    not_migrated: u64,
    /// Those that others changed again and again.
    left: u64,
}

#[derive(Serialize)]
struct SummaryReply<'a> {
    pool: &'a str,
    dry_run: bool,
    stopped_by: Option<&'static str>,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// What is asked of an undo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) dry_run: bool,
    pub(crate) yes: bool,
    pub(crate) json: bool,
}

/// The question, before anything is asked of the store.
pub(crate) fn confirmed(pool: &str, asked: Asked) -> Result<(), Failure> {
    confirm::confirm(&format!("Give the keys of pool {pool} their credits back?"), asked.yes || asked.dry_run)
}

pub(crate) async fn run(target: &Target, asked: Asked, stop: Stop) -> Result<(), Failure> {
    let begun = target.begin("undo migration", asked.dry_run).await?;
    let undo = steps::undo();
    let each = async |page| page_of(&target.keys, &undo, page, asked.dry_run).await;
    let walked = walk(target, asked.json, stop, each).await?;
    if let Some(begun) = begun {
        begun.done(None, &format!("a migration was undone: {} keys", walked.summary.undone));
    }
    tell(&walked.summary, target, asked, walked.stopped_by)?;
    walked.end(walked.summary.left == 0)
}

impl walk::Summary for Summary {
    fn join(&mut self, other: Self) {
        self.total += other.total;
        self.undone += other.undone;
        self.not_migrated += other.not_migrated;
        self.left += other.left;
    }
}

async fn page_of(keys: &Keys, undo: &Change, page: Vec<Shape>, dry_run: bool) -> Result<Summary, StoreError> {
    let total = page.len() as u64;
    let migrated = |page: Vec<Shape>| -> Vec<Bson> {
        page.into_iter().filter(|key| matches!(key.legacy, Legacy::Migrated(_))).map(|key| key.id).collect()
    };
    let mut due = migrated(page);
    let mut summary = Summary { total, not_migrated: total - due.len() as u64, ..Summary::default() };
    if dry_run {
        summary.undone = due.len() as u64;
        return Ok(summary);
    }
    for _ in 0..TRIES {
        let undone = pages::change(keys, &due, undo).await?;
        summary.undone += undone;
        if undone == due.len() as u64 {
            return Ok(summary);
        }
        let still = migrated(pages::again(keys, &due).await?);
        summary.not_migrated += (due.len() as u64).saturating_sub(undone + still.len() as u64);
        due = still;
    }
    summary.left = due.len() as u64;
    Ok(summary)
}

fn tell(summary: &Summary, target: &Target, asked: Asked, stopped_by: Option<&'static str>) -> Result<(), Failure> {
    if asked.json {
        let (pool, dry_run) = (target.pool.name.as_str(), asked.dry_run);
        return output::print_json(&SummaryReply { pool, dry_run, stopped_by, summary });
    }
    let mut pairs = vec![
        ("total", summary.total.to_string()),
        (if asked.dry_run { "would be undone" } else { "undone" }, summary.undone.to_string()),
        ("not migrated", summary.not_migrated.to_string()),
    ];
    if summary.left > 0 {
        pairs.push(("left, changed by others: run it again", summary.left.to_string()));
    }
    output::print(&target.told())?;
    output::print_pairs(pairs)
}
