//! What a pool did lately, as far as this instance saw it: hand-outs by the minute, keys that went out of use or came
//! back, and how fast its uses go. In memory, of bounded size: a page shows it, nothing goes by it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::{KeyId, Timestamp, Transition};

/// For how many minutes hand-outs are known.
pub const MINUTES: usize = 60;

/// How many transitions are known.
const TRANSITIONS: usize = 20;

/// Over which time the rate is reckoned at which uses go.
const RATE: Duration = Duration::from_secs(15 * 60);

/// Counts of what is left are taken no oftener, so that as many as are kept last for [`RATE`].
const BETWEEN: Duration = Duration::from_secs(15);

/// A key that went out of use, or came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// When, by the clock of the instance.
    pub at: Timestamp,
    /// The key; None = several at once.
    pub key: Option<KeyId>,
    /// Its secret, masked, once somebody asked; None where it is not known.
    pub masked: Option<String>,
    /// How many they were.
    pub keys: u64,
    /// What did it.
    pub transition: Transition,
}

#[derive(Default)]
pub(super) struct History(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Minutes since 1970 in which keys were handed out, with how many; the latest last.
    minutes: VecDeque<(i64, u64)>,
    /// The latest last.
    moved: VecDeque<Moved>,
    /// Uses left at some instants, by the store's clock; the latest last.
    left: VecDeque<(Timestamp, u64)>,
}

fn minute(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(60_000)
}

impl History {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing can be half-changed by a panic: each change is one of these lists.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handed_out(&self, now: Timestamp) {
        let mut kept = self.kept();
        let now = minute(now);
        match kept.minutes.back_mut() {
            // A clock that was set back counts on in the latest minute.
            Some((latest, count)) if *latest >= now => *count += 1,
            _ => kept.minutes.push_back((now, 1)),
        }
        if kept.minutes.len() > MINUTES {
            kept.minutes.pop_front();
        }
    }

    pub(super) fn moved(&self, moved: Moved) {
        let mut kept = self.kept();
        kept.moved.push_back(moved);
        if kept.moved.len() > TRANSITIONS {
            kept.moved.pop_front();
        }
    }

    /// The store was counted: so many uses are left.
    pub(super) fn counted(&self, at: Timestamp, left: u64) {
        let mut kept = self.kept();
        if kept.left.back().is_some_and(|(latest, _)| at.since(*latest) < BETWEEN) {
            return;
        }
        kept.left.push_back((at, left));
        while kept.left.front().is_some_and(|(first, _)| at.since(*first) > RATE) {
            kept.left.pop_front();
        }
    }

    /// Hand-outs in each of the last minutes, the present one last.
    pub(super) fn by_minute(&self, now: Timestamp) -> [u64; MINUTES] {
        let mut counts = [0; MINUTES];
        let now = minute(now);
        for (then, count) in &self.kept().minutes {
            let ago = usize::try_from(now.saturating_sub(*then).max(0)).unwrap_or(MINUTES);
            if let Some(place) = (MINUTES - 1).checked_sub(ago) {
                counts[place] += count;
            }
        }
        counts
    }

    /// The latest transitions, the latest first.
    pub(super) fn latest(&self) -> Vec<Moved> {
        self.kept().moved.iter().rev().cloned().collect()
    }

    /// This is how the secret of a key is shown.
    pub(super) fn name(&self, key: KeyId, masked: &str) {
        let mut kept = self.kept();
        kept.moved.iter_mut().filter(|moved| moved.key == Some(key)).for_each(|moved| {
            moved.masked.get_or_insert_with(|| masked.to_owned());
        });
    }

    /// How long `left` uses last, if they go on going as they did; None = none went, or nobody looked for long enough.
    /// Only what went is reckoned, by whoever it was: keys that were added meanwhile do not make it slower.
    pub(super) fn lasts(&self, now: Timestamp, left: u64) -> Option<Duration> {
        let kept = self.kept();
        let (first, _) = *kept.left.front()?;
        let took = now.since(first);
        let all: Vec<u64> = kept.left.iter().map(|(_, left)| *left).chain([left]).collect();
        let went: u64 = all.windows(2).map(|pair| pair[0].saturating_sub(pair[1])).sum();
        let is_long_enough = took >= BETWEEN && went > 0;
        is_long_enough.then(|| took.mul_f64(left as f64 / went as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_767_323_040_000 + 1000 * seconds)
    }

    #[test]
    fn hand_outs_are_known_by_the_minute_for_an_hour() {
        let history = History::default();
        for seconds in [0, 59, 60, 3 * 60] {
            history.handed_out(at(seconds));
        }
        let counts = history.by_minute(at(3 * 60 + 1));
        assert_eq!(counts[MINUTES - 4..], [2, 1, 0, 1]);
        assert_eq!(counts.iter().sum::<u64>(), 4);
        assert_eq!(history.by_minute(at(59 * 60))[0], 2);
        assert_eq!(history.by_minute(at(62 * 60 + 59)).iter().sum::<u64>(), 1);
        assert_eq!(history.by_minute(at(1_000_000)).iter().sum::<u64>(), 0);
        // However long it goes on, and whatever becomes of the clock.
        (0..10_000).for_each(|minute| history.handed_out(at(60 * minute)));
        history.handed_out(at(0));
        assert_eq!(history.kept().minutes.len(), MINUTES);
        assert_eq!(history.by_minute(at(60 * 9_999)), std::array::from_fn(|place| 1 + u64::from(place == MINUTES - 1)));
    }

    #[test]
    fn the_latest_transitions_are_known() {
        let history = History::default();
        let moved = |n: i64| Moved { at: at(n), key: None, masked: None, keys: 1, transition: Transition::Spent };
        (0..100).for_each(|n| history.moved(moved(n)));
        let latest = history.latest();
        assert_eq!((latest.len(), &latest[0], &latest[TRANSITIONS - 1]), (TRANSITIONS, &moved(99), &moved(80)));
    }

    #[test]
    fn what_is_left_lasts_as_long_as_it_went() {
        let history = History::default();
        assert_eq!(history.lasts(at(0), 100), None);
        history.counted(at(0), 100);
        assert_eq!(history.lasts(at(10), 90), None, "nobody looked for long enough");
        // 10 went in a minute.
        assert_eq!(history.lasts(at(60), 90), Some(Duration::from_secs(540)));
        history.counted(at(60), 90);
        // 50 were added, and 10 went again: 20 in two minutes.
        history.counted(at(90), 140);
        assert_eq!(history.lasts(at(120), 130), Some(Duration::from_secs(780)));
        assert_eq!(history.lasts(at(120), 140), Some(Duration::from_secs(1680)));
        let idle = History::default();
        idle.counted(at(0), 100);
        assert_eq!(idle.lasts(at(600), 100), None);
        // However long it goes on.
        (0..100_000).for_each(|n| history.counted(at(1000 + n), 5));
        assert!(history.kept().left.len() <= 62);
    }
}
