//! Stats, computed once for all who ask at the same moment.

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{Pool, PoolError};
use crate::domain::PoolStats;

/// How many times as long as they took to compute they are used again: at most a tenth of the time goes into them.
const REUSED: u32 = 10;

/// The last stats of a pool.
#[derive(Default)]
pub(super) struct Recent(Mutex<Option<Computed>>);

/// Stats, and when they were computed: from when to when.
pub(super) struct Computed {
    started: Instant,
    ended: Instant,
    stats: PoolStats,
}

impl Pool {
    /// The stats of a moment ago where they are `good` enough, else of now. `good` sees them and when their
    /// computation began.
    pub(super) async fn recent_stats(
        &self,
        deadline: Instant,
        good: impl Fn((&PoolStats, Instant)) -> bool,
    ) -> Result<PoolStats, PoolError> {
        // Who comes while they are computed waits here, and finds them fresh.
        let recent = timeout_at(deadline, self.0.stats.0.lock()).await;
        let mut recent = recent.map_err(|_| PoolError::Overloaded)?;
        if let Some(Computed { started, ended, stats }) = &*recent
            && ended.elapsed() < (*ended - *started) * REUSED
            && good((stats, *started))
        {
            return Ok(stats.clone());
        }
        let started = Instant::now();
        let stats =
            self.until("stats", deadline, self.store().stats(self.policy(), self.policy().uses_per_key)).await?;
        self.0.history.counted(stats.generated_at, stats.left);
        *recent = Some(Computed { started, ended: Instant::now(), stats: stats.clone() });
        Ok(stats)
    }
}
