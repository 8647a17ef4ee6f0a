//! What the log tells of a pool: its keys that rest or are disabled, that it runs dry, that it goes to its next key;
//! and of the store: that it is lost, and back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Pool;
use crate::domain::{KeyId, LeaseId, Outcome, Picks, PoolName, PoolStats};
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
    dry: bool,
    dry_told: Option<Instant>,
}

impl Told {
    fn change<T>(&self, change: impl FnOnce(&mut Last) -> T) -> T {
        // Nothing can be half-changed by a panic: each change is one assignment after another.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The store does not answer. Told of when it begins and when it ends, once each.
pub struct StoreLost {
    store: String,
    pool: Option<PoolName>,
    since: Instant,
}

impl StoreLost {
    /// Tells that it is lost, and what that means. `pool` None = for all pools.
    pub fn tell(store: &str, pool: Option<&PoolName>, error: &str, meaning: &str) -> Self {
        let shown = pool.map(tracing::field::display);
        tracing::warn!(event = "store_lost", store, pool = shown, error, "{meaning}");
        Self { store: store.to_owned(), pool: pool.cloned(), since: Instant::now() }
    }

    /// Tells that it is back.
    pub fn tell_back(self) {
        let pool = self.pool.as_ref().map(tracing::field::display);
        // Later than the end of time is never.
        let duration_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(event = "store_back", store = self.store, pool, duration_ms, "the store answers again");
    }
}

impl Pool {
    /// A key was handed out.
    pub(super) fn tell_handed_out(&self, key: KeyId) {
        let before = self.0.told.change(|last| {
            last.dry = false;
            last.key.replace(key)
        });
        if self.policy().picks == Picks::InOrder && before.is_some_and(|before| before != key) {
            tracing::info!(event = "rotated", pool = %self.policy().name, key.id = %key, "the pool went to its next key");
        }
    }

    /// There was no key to hand out.
    pub(super) fn tell_dry(&self, stats: &PoolStats) {
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
