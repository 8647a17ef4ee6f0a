//! The sweep in the background: lapsed leases are settled within two seconds of their end.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Pool, PoolError, Pools};

/// The pause between two sweeps, with the sweep itself well below the two seconds that are promised.
const PAUSE: Duration = Duration::from_secs(1);

/// How many parts one sweep of a pool has at most; the next sweep goes on.
const PARTS: usize = 100;

/// Sweeps all pools again and again until `stop` is ready.
pub async fn sweep_until(pools: Pools, stop: impl Future<Output = ()>) {
    tokio::select! {
        () = stop => {}
        () = sweep_for_ever(&pools) => {}
    }
}

async fn sweep_for_ever(pools: &Pools) {
    loop {
        tokio::time::sleep(PAUSE).await;
        // All together: one pool that cannot be swept does not keep the others from it, nor hold them up.
        let swept = join_all(pools.all().map(sweep)).await;
        match swept.into_iter().find_map(Result::err) {
            None => pools.outage.is_over(),
            // Not that too many others ask: the next sweep is soon.
            Some(PoolError::Overloaded) => {}
            Some(error) => pools.outage.sweep_failed(&error),
        }
    }
}

/// Settles what has lapsed in one pool, part by part.
async fn sweep(pool: &Pool) -> Result<(), PoolError> {
    let policy = pool.policy();
    for _ in 0..PARTS {
        let count = pool.within_limit("sweep", pool.store().sweep(policy)).await?;
        if count == 0 {
            break;
        }
        pool.0.metrics.lapsed(count);
        tracing::info!(event = "leases_lapsed", pool = %policy.name, count, "leases lapsed without a report");
    }
    Ok(())
}
