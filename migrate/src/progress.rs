//! The progress bar: on stderr, where a person sees it.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keylend::store::StoreError;
use keylend::store::mongodb::error;

use crate::pages::{Keys, within};

/// How far it is, at which rate, and how long it will take.
const TEMPLATE: &str = "{bar:40} {human_pos}/{human_len} keys, {per_sec}, {eta} left";

/// A bar for all documents of a collection, with rate and time left.
pub(crate) async fn bar(keys: &Keys, json: bool) -> Result<ProgressBar, StoreError> {
    if json || !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let number = within(async { keys.estimated_document_count().await.map_err(error::of_read) }).await?;
    let bar = ProgressBar::new(number);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(TEMPLATE);
    Ok(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_rate_and_time_left() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        assert!(["{per_sec}", "{eta}", "{bar"].iter().all(|part| TEMPLATE.contains(part)));
    }
}
