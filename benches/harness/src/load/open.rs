//! The open loop: requests arrive at a fixed rate, whether those before them were answered or not.
//!
//! Coordinated omission is kept out by counting each latency from the instant at which its request was *meant* to be
//! sent. A service that stalls for a second at 500 requests/s makes 500 slow requests, not one: those that could not be
//! sent meanwhile have waited since their own instants.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::caller::Ask;
use super::tally::{Tally, Window};

/// Takes arrivals until there are no more, each by the next caller that is free.
pub(crate) async fn run<A: Ask>(callers: &mut [A], arrivals: mpsc::Receiver<Instant>, window: Window) -> Tally {
    let arrivals = Mutex::new(arrivals);
    let tallies = join_all(callers.iter_mut().map(async |caller| {
        let mut tally = Tally::new(window);
        loop {
            let next = arrivals.lock().await.recv().await;
            let Some(intended) = next else { return tally };
            let outcome = caller.ask().await;
            tally.note(intended, Instant::now(), outcome);
        }
    }))
    .await;
    Tally::sum(window, tallies)
}

/// Arrivals at a fixed rate from now to the end of the window, told by a thread of its own: the timers of the runtime
/// are late by up to a millisecond, which would be counted as the service's.
pub(crate) fn pace(per_second: u32, window: Window) -> mpsc::Receiver<Instant> {
    let begin = Instant::now();
    let length = window.end.saturating_duration_since(begin);
    let arrivals = (length.as_secs_f64() * f64::from(per_second)) as u32;
    // Room for all of them: the pace is never held up by those who take them.
    let (tell, told) = mpsc::channel((arrivals as usize).max(1));
    std::thread::spawn(move || {
        for arrival in 0..arrivals {
            let intended = begin + Duration::from_secs(1) * arrival / per_second;
            std::thread::sleep(intended.saturating_duration_since(Instant::now()));
            if tell.blocking_send(intended).is_err() {
                return;
            }
        }
    });
    told
}

#[cfg(test)]
mod tests {
    use super::super::caller::Outcome;
    use super::*;
    use tokio::time::sleep;

    /// Answers at once, but for the first time.
    struct Stalls(Option<Duration>);

    impl Ask for Stalls {
        async fn ask(&mut self) -> Outcome {
            if let Some(stall) = self.0.take() {
                sleep(stall).await;
            }
            Outcome::Done
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_have_come_during_a_stall_is_counted_as_having_waited() {
        let begin = Instant::now();
        let window = Window { begin, end: begin + Duration::from_secs(10) };
        let (tell, arrivals) = mpsc::channel(1000);
        let arriving = async move {
            for arrival in 0..1000 {
                tokio::time::sleep_until(begin + Duration::from_millis(10) * arrival).await;
                tell.send(begin + Duration::from_millis(10) * arrival).await.unwrap();
            }
        };
        let mut callers = [Stalls(Some(Duration::from_secs(1)))];
        let (tally, ()) = tokio::join!(run(&mut callers, arrivals, window), arriving);
        assert_eq!(tally.latencies.len(), 1000);
        let late = |than| tally.latencies.iter().filter(|latency| **latency >= than).count();
        // The first waited 1 s, the one 10 ms later 990 ms, ... : a closed loop would have told of one.
        assert_eq!(late(1_000_000), 1);
        assert_eq!(late(500_000), 51);
        assert_eq!(tally.percentile(95.0), Some(Duration::from_millis(500)));
    }

    #[tokio::test(start_paused = true)]
    async fn arrivals_do_not_wait_for_one_another_while_a_caller_is_free() {
        let begin = Instant::now();
        let window = Window { begin, end: begin + Duration::from_secs(10) };
        let (tell, arrivals) = mpsc::channel(10);
        for _ in 0..10 {
            tell.send(begin).await.unwrap();
        }
        drop(tell);
        let mut callers: Vec<_> = (0..10).map(|_| Stalls(Some(Duration::from_secs(1)))).collect();
        let tally = run(&mut callers, arrivals, window).await;
        assert_eq!(tally.percentile(100.0), Some(Duration::from_secs(1)));
    }
}
