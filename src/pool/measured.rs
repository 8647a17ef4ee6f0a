//! What the pools tell of themselves to those who monitor them.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::history::{MINUTES, Moved};
use super::{Pool, PoolError, Pools};
use crate::domain::{Key, KeyId, KeyRef, PoolStats, Timestamp};
use crate::metrics::{HandOut, Metrics};
use crate::store::Seen;

/// The clock of the instance: good for telling how old a lease is and whether a token has ended, and for nothing that is
/// stored.
pub fn clock() -> Timestamp {
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
            let kind = kind(got);
            self.0.metrics.handed_out(kind, came.elapsed());
            if kind != HandOut::Repeat {
                self.0.history.handed_out(clock());
            }
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

/// What a pool did lately, beside what it holds.
#[derive(Clone, Debug)]
pub struct Lately {
    /// Keys handed out by this instance in each of the last minutes, the present one last.
    pub hand_outs: [u64; MINUTES],
    /// How long its uses last at the present rate; None where none went, or nobody looked for long enough.
    pub lasts: Option<Duration>,
    /// Keys that went out of use or came back, as this instance saw it, the latest first.
    pub moved: Vec<Moved>,
}

impl Pool {
    /// What the pool did lately; `stats` are those of now.
    pub async fn lately(&self, stats: &PoolStats) -> Lately {
        let history = &self.0.history;
        let nameless = history.latest().into_iter().filter(|moved| moved.masked.is_none());
        let nameless: HashSet<KeyId> = nameless.filter_map(|moved| moved.key).collect();
        for key in nameless {
            match self.look_up(&KeyRef::Id(key)).await {
                Ok(Seen { value: Key { secret: Some(secret), .. }, .. }) => history.name(key, &secret.masked()),
                Ok(_) | Err(PoolError::UnknownKey) => history.name(key, "..."),
                // The next look may find it.
                Err(_) => break,
            }
        }
        Lately {
            hand_outs: history.by_minute(clock()),
            lasts: history.lasts(stats.generated_at, stats.left),
            moved: history.latest(),
        }
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
