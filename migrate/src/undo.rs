//! `--undo`: the documents as they were.

use bson::Bson;
use futures_util::{StreamExt, TryStreamExt};
use keylend::cli::{Failure, confirm, output};
use keylend::store::StoreError;
use serde::Serialize;

use crate::command::Target;
use crate::pages::{self, AT_ONCE, Keys};
use crate::progress;
use crate::shape::{Legacy, Shape};
use crate::steps::{self, Change};
use crate::stop::{Stop, stopped};

/// How often documents are tried that others change at the same time.
const TRIES: usize = 4;

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
    let bar = progress::bar(&target.keys, asked.json).await?;
    let undo = steps::undo();
    let summary = pages::read(&target.keys)
        .take_until(stopped(stop.clone()))
        .map_ok(|page| async {
            let pages = page.len() as u64;
            let summary = page_of(&target.keys, &undo, page, asked.dry_run).await?;
            bar.inc(pages);
            Ok(summary)
        })
        .try_buffered(AT_ONCE)
        .try_fold(Summary::default(), async |mut all, page| {
            all.total += page.total;
            all.undone += page.undone;
            all.not_migrated += page.not_migrated;
            all.left += page.left;
            Ok(all)
        })
        .await;
    bar.finish_and_clear();
    let summary = summary?;
    let stopped_by = *stop.borrow();
    if !asked.dry_run {
        target.tell_admin(&format!("a migration was undone: {} keys", summary.undone));
    }
    tell(&summary, target, asked, stopped_by)?;
    match stopped_by {
        Some(signal) => Err(Failure::Failed(format!("stopped by {signal} before the end: run it again to go on"))),
        None if summary.left > 0 => Err(Failure::NotAll),
        None => Ok(()),
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
