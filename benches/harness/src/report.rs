//! What is told at the end: for people a table, for programs JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::bench::Run;

/// All rows of a benchmark.
#[derive(Serialize)]
pub(crate) struct Report {
    /// What was measured: the version of the sources, as git tells it.
    pub(crate) commit: String,
    pub(crate) processors: usize,
    pub(crate) seconds_per_run: f64,
    pub(crate) runs: u32,
    pub(crate) rows: Vec<Row>,
}

/// One row of the table.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) work: String,
    /// The store, by name and version.
    pub(crate) store: String,
    pub(crate) sides: Vec<Side>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// One side: medians of its runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) name: String,
    /// How many of what grows in the row: keys, callers, instances. None where nothing does.
    pub(crate) size: Option<u32>,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) memory_mb: f64,
    pub(crate) ready_ms: f64,
    /// The rate of each run, in their order.
    pub(crate) rates: Vec<f64>,
    /// Answers that were not the wanted ones, of all runs, by status; 0: not answered.
    pub(crate) refused: BTreeMap<u16, u64>,
}

/// One figure and what it should be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) reach: f64,
    pub(crate) unit: &'static str,
    pub(crate) reached: bool,
}

impl Verdict {
    pub(crate) fn at_least(reach: f64, figure: f64, unit: &'static str, what: impl Into<String>) -> Self {
        Self { what: what.into(), figure, reach, unit, reached: figure >= reach }
    }

    pub(crate) fn at_most(reach: f64, figure: f64, unit: &'static str, what: impl Into<String>) -> Self {
        Self { what: what.into(), figure, reach, unit, reached: figure <= reach }
    }
}

impl Side {
    pub(crate) fn of(name: impl Into<String>, runs: &[Run]) -> Self {
        let rates: Vec<f64> = runs.iter().map(|run| run.tally.rate()).collect();
        let percentile = |percent| {
            let of_run = |run: &Run| run.tally.percentile(percent).map(millis);
            median(&runs.iter().filter_map(of_run).collect::<Vec<_>>())
        };
        let mut refused: BTreeMap<u16, u64> = BTreeMap::new();
        for (status, times) in runs.iter().flat_map(|run| &run.tally.refused) {
            *refused.entry(*status).or_default() += times;
        }
        Self {
            name: name.into(),
            size: None,
            per_second: median(&rates),
            p50_ms: percentile(50.0),
            p99_ms: percentile(99.0),
            memory_mb: median(&runs.iter().map(|run| run.memory as f64 / 1e6).collect::<Vec<_>>()),
            ready_ms: median(&runs.iter().map(|run| millis(run.ready_after)).collect::<Vec<_>>()),
            rates,
            refused,
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The one in the middle; of an even number the mean of the two there. Not a number where there is none.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (_, _) if sorted.is_empty() => f64::NAN,
        (middle, 1) => sorted[middle],
        (middle, _) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

impl Report {
    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["row", "store", "side", "a second", "p50 ms", "p99 ms", "refused"]);
        for row in &self.rows {
            for (place, side) in row.sides.iter().enumerate() {
                let (name, store) = if place == 0 { (row.name, row.store.as_str()) } else { ("", "") };
                table.add_row([
                    name.to_owned(),
                    store.to_owned(),
                    side.name.clone(),
                    figure(side.per_second),
                    figure(side.p50_ms),
                    figure(side.p99_ms),
                    side.refused
                        .iter()
                        .map(|(status, times)| format!("{status}: {times}"))
                        .collect::<Vec<_>>()
                        .join(" "),
                ]);
            }
        }
        let mut verdicts = Table::new();
        verdicts.load_style(presets::ASCII_MARKDOWN);
        verdicts.set_header(["row", "store", "what", "figure", "wanted", ""]);
        for row in &self.rows {
            for verdict in &row.verdicts {
                verdicts.add_row([
                    row.name.to_owned(),
                    row.store.clone(),
                    verdict.what.clone(),
                    format!("{}{}", figure(verdict.figure), verdict.unit),
                    format!("{}{}", figure(verdict.reach), verdict.unit),
                    if verdict.reached { "reached" } else { "NOT reached" }.to_owned(),
                ]);
            }
        }
        let heading = format!(
            "{} on {} processors, {} runs of {} s, medians",
            self.commit, self.processors, self.runs, self.seconds_per_run
        );
        format!("{heading}\n\n{}\n\n{}", table.trim_fmt(), verdicts.trim_fmt())
    }
}

/// With as many digits as mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 100.0]) - 3.0).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_figure_on_the_mark_reaches_it_and_none_does_not() {
        assert!(Verdict::at_least(50.0, 50.0, "x", "").reached && !Verdict::at_least(50.0, 49.9, "x", "").reached);
        assert!(Verdict::at_most(1.1, 1.1, "x", "").reached && !Verdict::at_most(1.1, 1.2, "x", "").reached);
        assert!(
            !Verdict::at_least(1.0, f64::NAN, "x", "").reached && !Verdict::at_most(1.0, f64::NAN, "x", "").reached
        );
    }
}
