//! The closed loop: so many callers, each asking again as soon as it was answered. It finds the rate that a service can
//! keep up, and how long callers wait at that rate.
//!
//! A service that stalls keeps its callers from asking, so the latencies of a closed loop leave out those who would
//! have come meanwhile: they tell of that many callers, not of an arrival rate. That is what [`super::open`] is for.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::caller::Ask;
use super::tally::{Tally, Window};

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) window: Window,
    /// How many units may be begun, the warm-up's with them.
    pub(crate) at_most: u64,
    /// How long each waits after an answer.
    pub(crate) pause: Duration,
}

/// Lets all of them ask until the window is over. Each has got its last answer when this returns.
pub(crate) async fn run<A: Ask>(callers: &mut [A], closed: Closed) -> Tally {
    let began = Cell::new(0);
    let tallies = join_all(callers.iter_mut().map(async |caller| {
        let mut tally = Tally::new(closed.window);
        while Instant::now() < closed.window.end && began.get() < closed.at_most {
            began.set(began.get() + 1);
            let intended = Instant::now();
            let outcome = caller.ask().await;
            tally.note(intended, Instant::now(), outcome);
            if !closed.pause.is_zero() {
                sleep(closed.pause).await;
            }
        }
        tally
    }))
    .await;
    Tally::sum(closed.window, tallies)
}

#[cfg(test)]
mod tests {
    use super::super::caller::Outcome;
    use super::*;

    struct Slow(Duration);

    impl Ask for Slow {
        async fn ask(&mut self) -> Outcome {
            sleep(self.0).await;
            Outcome::Done
        }
    }

    fn closed(at_most: u64) -> Closed {
        let begin = Instant::now() + Duration::from_secs(1);
        let window = Window { begin, end: begin + Duration::from_secs(10) };
        Closed { window, at_most, pause: Duration::ZERO }
    }

    #[tokio::test(start_paused = true)]
    async fn each_caller_asks_again_when_it_was_answered_and_the_warm_up_is_left_out() {
        let mut callers = [Slow(Duration::from_millis(100)), Slow(Duration::from_millis(100))];
        let tally = run(&mut callers, closed(u64::MAX)).await;
        // Of 11 s the first is the warm-up.
        assert_eq!(tally.latencies.len(), 2 * 100);
        assert!((tally.rate() - 20.0).abs() < 0.5, "{}", tally.rate());
        assert_eq!(tally.percentile(50.0), Some(Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_ends_it_and_the_rate_is_that_of_the_time_it_took() {
        let mut callers = [Slow(Duration::from_millis(100)), Slow(Duration::from_millis(100))];
        let tally = run(&mut callers, closed(60)).await;
        assert_eq!(tally.all, 60);
        // 2 s of the window, its first and its last instant among them.
        assert!((tally.rate() - 21.0).abs() < 0.5, "{}", tally.rate());
    }
}
