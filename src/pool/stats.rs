//! Stats, computed once for all who ask at the same moment.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{Pool, PoolError};
use crate::domain::PoolStats;

/// How many times as long as they took to compute they are used again: at most a tenth of the time goes into them.
const REUSED: u32 = 10;

/// The last stats of a pool, when they were computed, and how long that took.
#[derive(Default)]
pub(super) struct Recent(Mutex<Option<(Instant, Duration, PoolStats)>>);

impl Pool {
    pub(super) async fn recent_stats(&self, deadline: Instant) -> Result<PoolStats, PoolError> {
        // Who comes while they are computed waits here, and finds them fresh.
        let recent = timeout_at(deadline, self.0.stats.0.lock()).await;
        let mut recent = recent.map_err(|_| PoolError::Overloaded)?;
        if let Some((computed, took, stats)) = &*recent
            && computed.elapsed() < *took * REUSED
        {
            return Ok(stats.clone());
        }
        let started = Instant::now();
        let stats = self.until(deadline, self.store().stats(self.policy(), self.policy().uses_per_key)).await?;
        *recent = Some((Instant::now(), started.elapsed(), stats.clone()));
        Ok(stats)
    }
}
