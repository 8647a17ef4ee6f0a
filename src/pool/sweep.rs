//! The sweep in the background: lapsed leases are settled within two seconds of their end.

use std::time::Duration;

use super::{Pool, PoolError, Pools, StoreLost};

/// The pause between two sweeps, with the sweep itself well below the two seconds that are promised.
const PAUSE: Duration = Duration::from_secs(1);

/// How many parts one sweep of a pool has at most; the next sweep goes on.
const PARTS: usize = 100;

/// The longest pause while the store is away: when it is back, what lapsed meanwhile is settled as soon as ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Sweeps all pools again and again until `stop` is ready.
pub async fn sweep_until(pools: Pools, stop: impl Future<Output = ()>) {
    tokio::select! {
        () = stop => {}
        () = sweep_for_ever(&pools) => {}
    }
}

async fn sweep_for_ever(pools: &Pools) {
    let mut pause = PAUSE;
    let mut lost = None;
    loop {
        tokio::time::sleep(pause).await;
        // One pool that cannot be swept does not keep the others from it.
        let mut failed = None;
        for pool in pools.all() {
            if let Err(error) = sweep(pool).await {
                failed = Some(error);
            }
        }
        match failed {
            None => {
                if let Some(lost) = lost.take() {
                    StoreLost::tell_back(lost);
                }
                pause = PAUSE;
            }
            Some(error) => {
                lost.get_or_insert_with(|| {
                    StoreLost::tell(&pools.store(), None, &error.chain(), "lapsed leases cannot be settled")
                });
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Settles what has lapsed in one pool, part by part.
async fn sweep(pool: &Pool) -> Result<(), PoolError> {
    let policy = pool.policy();
    for _ in 0..PARTS {
        let count = pool.within_limit(pool.store().sweep(policy)).await?;
        if count == 0 {
            break;
        }
        tracing::info!(event = "leases_lapsed", pool = %policy.name, count, "leases lapsed without a report");
    }
    Ok(())
}
