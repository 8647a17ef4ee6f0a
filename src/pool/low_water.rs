//! Low water: a pool that has too few usable keys asks for one by itself, once over all instances.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Generated, Pool, PoolError, Pools, lock_owner};
use crate::domain::{RequestId, State};

/// How often a pool is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The first and the longest pause after a command that brought nothing.
const PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// Who wants the keys.
const BY: &str = "low_water";

/// Looks after the pools that have a low-water mark until `stop`.
pub async fn keep_above_low_water(pools: Pools, stop: CancellationToken) {
    let looked_after = pools.all().filter_map(|pool| Some(keep(pool, pool.policy().provider.low_water?)));
    stop.run_until_cancelled(join_all(looked_after)).await;
}

async fn keep(pool: &Pool, low_water: u32) {
    let mut turn = Turn::new(pool);
    loop {
        sleep(LOOK).await;
        if let Err(error) = look(pool, low_water, &mut turn).await {
            tracing::debug!(pool = %pool.policy().name, error = error.chain(), "the low-water mark was not looked at");
        }
    }
}

async fn look(pool: &Pool, low_water: u32, turn: &mut Turn) -> Result<(), PoolError> {
    // Keys that a file is about to bring are not missing.
    if pool.0.keys_are_coming.load(Ordering::Acquire)
        || pool.stats().await?.keys.of(State::Usable) >= u64::from(low_water)
    {
        return Ok(());
    }
    if pool.policy().provider.generate.is_none() {
        // By its id there can be only one, whoever asks.
        pool.ask_for_key(RequestId::low_water(), BY).await?;
        return Ok(());
    }
    if !turn.take(pool).await? {
        return Ok(());
    }
    let brought = match pool.generate(BY).await {
        Ok(Generated::Added(added)) => added.key.value.key.is_active,
        // An operator is at it.
        Err(PoolError::Generating) => return turn.end(pool, Duration::ZERO).await,
        Ok(Generated::Asked { .. }) | Err(_) => false,
    };
    let pause = turn.pause_after(brought);
    turn.end(pool, pause).await
}

/// Whose turn it is to run the command: one instance at a time, and nobody for a while after it brought nothing.
struct Turn {
    lock: String,
    owner: String,
    not_before: Instant,
    pause: Duration,
}

impl Turn {
    fn new(pool: &Pool) -> Self {
        let lock = format!("low_water:{}", pool.policy().collection);
        Self { lock, owner: lock_owner(), not_before: Instant::now(), pause: PAUSES.0 }
    }

    async fn take(&self, pool: &Pool) -> Result<bool, PoolError> {
        let generate = pool.policy().provider.generate.as_ref().map_or(Duration::ZERO, |generate| generate.timeout);
        if Instant::now() < self.not_before {
            return Ok(false);
        }
        let lasts = generate + PAUSES.0;
        pool.within_limit("lock", pool.store().lock(&self.lock, &self.owner, lasts)).await
    }

    fn pause_after(&mut self, brought: bool) -> Duration {
        if brought {
            self.pause = PAUSES.0;
            return Duration::ZERO;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        pause
    }

    /// Lets the next turn be had after `pause`, by whoever takes it.
    async fn end(&mut self, pool: &Pool, pause: Duration) -> Result<(), PoolError> {
        self.not_before = Instant::now() + pause;
        if pause.is_zero() {
            return pool.within_limit("unlock", pool.store().unlock(&self.lock, &self.owner)).await;
        }
        pool.within_limit("lock", pool.store().lock(&self.lock, &self.owner, pause)).await.map(|_| ())
    }
}
