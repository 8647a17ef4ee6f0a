//! What the pools tell of themselves to those who monitor them.

use std::time::SystemTime;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{Pool, PoolError, Pools};
use crate::domain::Timestamp;
use crate::metrics::{HandOut, Metrics};

/// The clock of the instance: good for telling how old a lease is, and for nothing that is stored.
pub(super) fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Pools {
    /// What this instance counts and measures.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl Pool {
    /// Passes on what a caller gets, and counts a key that was handed out.
    pub(super) fn measure<T>(
        &self,
        came: Instant,
        got: Result<T, PoolError>,
        kind: impl FnOnce(&T) -> HandOut,
    ) -> Result<T, PoolError> {
        if let Ok(got) = &got {
            self.0.metrics.handed_out(kind(got), came.elapsed());
        }
        got
    }

    /// Passes on what a caller gets at last, and counts that there was no key.
    pub(super) fn measure_empty<T>(&self, got: Result<T, PoolError>) -> Result<T, PoolError> {
        if let Err(PoolError::NoUsableKey { stats, .. }) = &got {
            self.0.metrics.empty(stats);
        }
        got
    }
}

/// Measures what the store holds of these pools, for a look at the metrics. One that cannot be counted is not shown.
pub async fn measure_all(pools: impl Iterator<Item = &Pool>) {
    let measured = pools.map(|pool| async {
        let stats = pool.stats().await.ok();
        pool.0.metrics.holds(stats.as_ref());
    });
    join_all(measured).await;
}
