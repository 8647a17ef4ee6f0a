//! What the log tells of a pool: its keys that rest or are disabled, that it runs dry, that it goes to its next key.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Pool;
use super::history::Moved;
use super::measured::clock;
use crate::domain::{KeyChange, KeyId, LeaseId, Outcome, Picks, PoolStats, Rest, Transition, UsageCount};
use crate::store::{Incremented, Settled};

/// A pool that is dry again and again, with a hand-out between, is told of once in so long.
const DRY_AGAIN: Duration = Duration::from_secs(60);

/// What was told last.
#[derive(Default)]
pub(super) struct Told(Mutex<Last>);

#[derive(Default)]
struct Last {
    /// The key that an `in_order` pool handed out last.
    key: Option<KeyId>,
    /// A hand-out was not answered, and none was since.
    lost: bool,
    dry: bool,
    dry_told: Option<Instant>,
}

impl Told {
    fn change<T>(&self, change: impl FnOnce(&mut Last) -> T) -> T {
        // Nothing can be half-changed by a panic: each change is one assignment after another.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pool {
    /// A key was handed out.
    pub(super) fn tell_handed_out(&self, key: KeyId) {
        self.tell_answered();
        let before = self.0.told.change(|last| {
            last.dry = false;
            last.key.replace(key)
        });
        if self.policy().picks == Picks::InOrder && before.is_some_and(|before| before != key) {
            tracing::info!(event = "rotated", pool = %self.policy().name, key.id = %key, "the pool went to its next key");
        }
    }

    /// The answer to a hand-out was lost. Why, the log was told with the store's outage.
    pub(super) fn tell_unanswered(&self) {
        if !self.0.told.change(|last| std::mem::replace(&mut last.lost, true)) {
            tracing::warn!(
                pool = %self.policy().name,
                "a hand-out was not answered: callers of the pool get 503 until it is known what became of it"
            );
        }
    }

    /// A hand-out was answered.
    fn tell_answered(&self) {
        if self.0.told.change(|last| std::mem::replace(&mut last.lost, false)) {
            tracing::info!(pool = %self.policy().name, "hand-outs of the pool are answered again");
        }
    }

    /// There was no key to hand out.
    pub(super) fn tell_dry(&self, stats: &PoolStats) {
        self.tell_answered();
        let first = self.0.told.change(|last| {
            let recently = last.dry_told.is_some_and(|told| told.elapsed() < DRY_AGAIN);
            let first = !std::mem::replace(&mut last.dry, true) && !recently;
            if first {
                last.dry_told = Some(Instant::now());
            }
            first
        });
        if first {
            tracing::warn!(
                event = "pool_dry",
                pool = %self.policy().name,
                keys = stats.keys.total(),
                next_due_at = stats.next_due_at.map(tracing::field::display),
                "no key of the pool can be handed out"
            );
        }
    }

    /// A lease was reported.
    pub(super) fn tell_reported(&self, lease: &LeaseId, outcome: Outcome, settled: &Settled) {
        self.0.metrics.reported(outcome, lease.entry.age(clock()));
        let (transition, event, text) = match outcome {
            Outcome::Used | Outcome::Unused => return,
            Outcome::RateLimited => (Transition::RateLimited, "key_rested", "a report put the key to rest"),
            Outcome::Exhausted => (Transition::Exhausted, "key_disabled", "a report disabled the key"),
            Outcome::Rejected => (Transition::Rejected, "key_disabled", "a report disabled the key"),
        };
        self.tell_moved(transition, Some(settled.id), 1);
        tracing::warn!(
            event,
            pool = %self.policy().name,
            key.id = %settled.id,
            lease.id = lease.loggable(),
            outcome = outcome.as_str(),
            state = settled.state.as_str(),
            "{text}"
        );
    }

    /// Uses were counted on these keys in one step, and this is how many they have now.
    pub(super) fn tell_counted(&self, counted: impl IntoIterator<Item = (KeyId, UsageCount)>) {
        // Exactly its last: one that others count beyond its limit was spent before.
        let limit = u64::from(self.policy().uses_per_key);
        let spent = counted.into_iter().filter(|(_, count)| count.whole() == Some(limit));
        let spent: HashSet<KeyId> = spent.map(|(key, _)| key).collect();
        spent.into_iter().for_each(|key| self.tell_moved(Transition::Spent, Some(key), 1));
    }

    /// Uses were counted without a lease.
    pub(super) fn tell_incremented<'a>(&self, counted: impl IntoIterator<Item = &'a Incremented>) {
        let counted = counted.into_iter().filter_map(|counted| match counted {
            Incremented::Counted { id, usage_count, .. } => Some((*id, *usage_count)),
            Incremented::UnknownKey | Incremented::InvalidKey => None,
        });
        self.tell_counted(counted.inspect(|_| self.0.metrics.incremented()));
    }

    /// An operator changed a key.
    pub(super) fn tell_changed(&self, key: KeyId, change: &KeyChange) {
        match change.is_active {
            Some(true) => self.tell_moved(Transition::Enabled, Some(key), 1),
            Some(false) => self.tell_moved(Transition::Disabled, Some(key), 1),
            None => {}
        }
        if matches!(change.rest, Some(Rest::End)) {
            self.tell_moved(Transition::RestEnded, Some(key), 1);
        }
    }

    /// Keys went out of use, or came back; `key` where it is one.
    pub(super) fn tell_moved(&self, transition: Transition, key: Option<KeyId>, keys: u64) {
        self.0.metrics.moved(transition, keys);
        self.0.history.moved(Moved { at: clock(), key, masked: None, keys, transition });
    }
}
