//! That the store does not answer, as the log tells it: once when it is lost, and once when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::PoolError;
use crate::store::StoreError;

/// Whether the log was told that the store is lost. One for all pools of an instance.
#[derive(Clone, Default)]
pub(super) struct Outage(Arc<AtomicBool>);

impl Outage {
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
        if !self.0.swap(true, Ordering::AcqRel) {
            tracing::error!(event = "store_lost", error, "the store is not available");
        }
    }

    /// All pools were swept. Not any answer means that: a store that answers some callers and others not would fill
    /// the log.
    pub(super) fn is_over(&self) {
        if self.0.swap(false, Ordering::AcqRel) {
            tracing::info!(event = "store_back", "the store answers again");
        }
    }
}
