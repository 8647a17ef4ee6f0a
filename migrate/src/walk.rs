//! One pass over all documents, several pages at once, until the end or a signal.

use futures_util::{StreamExt, TryStreamExt};
use keylend::cli::Failure;
use keylend::store::StoreError;

use crate::command::Target;
use crate::pages;
use crate::progress;
use crate::shape::Shape;
use crate::stop::{Stop, stopped};

/// How many pages are in work at the same time.
const AT_ONCE: usize = 3;

/// What a pass adds up to.
pub(crate) trait Summary: Default {
    /// That of another page.
    fn join(&mut self, other: Self);
}

/// A pass that is over.
pub(crate) struct Walked<S> {
    pub(crate) summary: S,
    /// The signal that ended it before the end.
    pub(crate) stopped_by: Option<&'static str>,
}

/// Does `each` with every page; their summaries are joined in the order of the pages.
pub(crate) async fn walk<S: Summary>(
    target: &Target,
    json: bool,
    stop: Stop,
    each: impl AsyncFn(Vec<Shape>) -> Result<S, StoreError>,
) -> Result<Walked<S>, Failure> {
    let bar = progress::bar(&target.keys, json).await?;
    let summary = pages::read(&target.keys)
        .take_until(stopped(stop.clone()))
        .map_ok(|page| async {
            let read = page.len() as u64;
            let summary = each(page).await?;
            bar.inc(read);
            Ok(summary)
        })
        .try_buffered(AT_ONCE)
        .try_fold(S::default(), async |mut all, page| {
            all.join(page);
            Ok(all)
        })
        .await;
    bar.finish_and_clear();
    let stopped_by = *stop.borrow();
    Ok(Walked { summary: summary?, stopped_by })
}

impl<S> Walked<S> {
    /// What the program ends with, where nothing is left that wants somebody.
    pub(crate) fn end(&self, all_is_well: bool) -> Result<(), Failure> {
        match self.stopped_by {
            Some(signal) => Err(Failure::Failed(format!("stopped by {signal} before the end: run it again to go on"))),
            None if all_is_well => Ok(()),
            None => Err(Failure::NotAll),
        }
    }
}
