//! What the log tells of a pool: its keys that rest or are disabled, that it runs dry, that it goes to its next key.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Pool;
use crate::domain::{KeyId, LeaseId, Outcome, Picks, PoolStats};
use crate::store::Settled;

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
        let (event, text) = match outcome {
            Outcome::Used | Outcome::Unused => return,
            Outcome::RateLimited => ("key_rested", "a report put the key to rest"),
            Outcome::Exhausted | Outcome::Rejected => ("key_disabled", "a report disabled the key"),
        };
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
}
