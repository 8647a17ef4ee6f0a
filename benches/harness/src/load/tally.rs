//! What a load finds out: how much was done in how long, and how long each unit took.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::caller::Outcome;
use super::told::Told;

/// What is measured, after the warm-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

#[derive(Debug)]
pub(crate) struct Tally {
    window: Window,
    /// Units done in the window.
    done: u64,
    /// The last unit that was done.
    last: Instant,
    /// Of the units that were meant to begin in the window and were done, in microseconds, ascending.
    pub(crate) latencies: Vec<u32>,
    /// All units, the warm-up's with them.
    pub(crate) all: u64,
    /// By status; those that were not answered stand under 0.
    pub(crate) refused: BTreeMap<u16, u64>,
    pub(crate) told: Told,
    /// What one of the refused was told.
    pub(crate) complaint: Option<String>,
}

impl Tally {
    pub(super) fn new(window: Window) -> Self {
        let (latencies, refused) = (Vec::new(), BTreeMap::new());
        Self { window, done: 0, last: window.begin, latencies, all: 0, refused, told: Told::default(), complaint: None }
    }

    pub(super) fn note(&mut self, intended: Instant, ended: Instant, outcome: Outcome) {
        self.all += 1;
        match outcome {
            Outcome::Done => {}
            Outcome::Refused(status) => *self.refused.entry(status).or_default() += 1,
            Outcome::Lost => *self.refused.entry(0).or_default() += 1,
        }
        if outcome != Outcome::Done {
            return;
        }
        self.last = self.last.max(ended);
        if (self.window.begin..self.window.end).contains(&ended) {
            self.done += 1;
        }
        // By its beginning: else a service so slow that units outlast the window would look quicker than it is.
        if (self.window.begin..self.window.end).contains(&intended) {
            let micros = ended.saturating_duration_since(intended).as_micros();
            self.latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn sum(window: Window, tallies: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::new(window);
        for tally in tallies {
            sum.done += tally.done;
            sum.last = sum.last.max(tally.last);
            sum.latencies.extend(tally.latencies);
            sum.all += tally.all;
            for (status, times) in tally.refused {
                *sum.refused.entry(status).or_default() += times;
            }
            sum.told.add(&tally.told);
            sum.complaint = sum.complaint.or(tally.complaint);
        }
        sum.latencies.sort_unstable();
        sum
    }

    /// The same of several generators, side by side.
    pub(super) fn merge(tallies: Vec<Self>) -> Option<Self> {
        let window = tallies.first()?.window;
        Some(Self::sum(window, tallies))
    }

    /// Units a second. Where all that was to be done was done before the window's end, of the time it took.
    pub(crate) fn rate(&self) -> f64 {
        let length = self.window.end.min(self.last).saturating_duration_since(self.window.begin);
        if length.is_zero() { 0.0 } else { self.done as f64 / length.as_secs_f64() }
    }

    /// The latency that this many per cent of the units do not exceed: the nearest rank, one that was measured. None
    /// where nothing was.
    pub(crate) fn percentile(&self, percent: f64) -> Option<Duration> {
        let rank = (percent / 100.0 * self.latencies.len() as f64).ceil() as usize;
        let latency = self.latencies.get(rank.clamp(1, self.latencies.len().max(1)) - 1)?;
        Some(Duration::from_micros(u64::from(*latency)))
    }

    /// Units that were not done.
    pub(crate) fn failed(&self) -> u64 {
        self.refused.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(latencies: &[u32]) -> Tally {
        let begin = Instant::now();
        let window = Window { begin, end: begin + Duration::from_secs(1) };
        let mut tally = Tally::new(window);
        for latency in latencies {
            tally.note(begin, begin + Duration::from_micros(u64::from(*latency)), Outcome::Done);
        }
        Tally::sum(window, [tally])
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let hundred: Vec<u32> = (1..=100).rev().collect();
        let micros = |percent| tally(&hundred).percentile(percent).unwrap().as_micros();
        assert_eq!((micros(50.0), micros(99.0), micros(99.5), micros(100.0), micros(0.0)), (50, 99, 100, 100, 1));
        assert_eq!(tally(&[7]).percentile(99.0), Some(Duration::from_micros(7)));
        assert_eq!(tally(&[]).percentile(50.0), None);
    }

    #[test]
    fn what_outlasts_the_window_counts_for_latency_and_not_for_the_rate() {
        let slow = tally(&[500_000, 3_000_000]);
        assert_eq!(slow.latencies.len(), 2);
        assert!((slow.rate() - 1.0).abs() < 1e-9, "{}", slow.rate());
    }

    #[test]
    fn what_was_refused_is_no_latency() {
        let begin = Instant::now();
        let window = Window { begin, end: begin + Duration::from_secs(1) };
        let mut tally = Tally::new(window);
        tally.note(begin, begin, Outcome::Refused(503));
        tally.note(begin, begin, Outcome::Lost);
        assert_eq!((tally.latencies.len(), tally.failed(), tally.all), (0, 2, 2));
    }
}
