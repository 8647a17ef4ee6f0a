//! That the store does not answer, as the log tells it: once when it is lost, and once when it is back.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::PoolError;
use crate::store::StoreError;

/// The outage that goes on, if one does. One for all pools of an instance.
#[derive(Clone)]
pub(super) struct Outage {
    store: Arc<str>,
    since: Arc<Mutex<Option<Instant>>>,
}

impl Outage {
    /// None yet, of a store of this description.
    pub(super) fn of(store: &str) -> Self {
        Self { store: store.into(), since: Arc::default() }
    }

    /// The store did not answer a caller. That it refused is the matter of that caller alone.
    pub(super) fn failed(&self, error: &StoreError) {
        if matches!(error, StoreError::Away(_) | StoreError::Unresolved(_)) {
            self.tell(&error.chain());
        }
    }

    /// A pool could not be swept: its lapsed leases keep their uses.
    pub(super) fn sweep_failed(&self, error: &PoolError) {
        self.tell(&error.chain());
    }

    fn tell(&self, error: &str) {
        let first = self.change(|since| {
            let first = since.is_none();
            since.get_or_insert_with(Instant::now);
            first
        });
        if first {
            tracing::error!(event = "store_lost", store = &*self.store, error, "the store is not available");
        }
    }

    /// All pools were swept. Not any answer means that: a store that answers some callers and others not would fill
    /// the log.
    pub(super) fn is_over(&self) {
        if let Some(since) = self.change(Option::take) {
            // Longer than any number is for ever.
            let duration_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(event = "store_back", store = &*self.store, duration_ms, "the store answers again");
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Option<Instant>) -> T) -> T {
        // One assignment: nothing can be half-changed by a panic.
        change(&mut self.since.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
