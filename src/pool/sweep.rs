//! The sweep in the background: lapsed leases are settled within two seconds of their end.

use std::time::Duration;

use super::Pools;

/// The pause between two sweeps, with the sweep itself well below the two seconds that are promised.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause while the store is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sweeps all pools again and again until `stop` is ready.
pub async fn sweep_until(pools: Pools, stop: impl Future<Output = ()>) {
    tokio::select! {
        () = stop => {}
        () = sweep_for_ever(&pools) => {}
    }
}

async fn sweep_for_ever(pools: &Pools) {
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let was_away = pause > PAUSE;
        match sweep_once(pools).await {
            Ok(()) => {
                if was_away {
                    tracing::info!(event = "store_back", "the store answers again");
                }
                pause = PAUSE;
            }
            Err(error) => {
                if !was_away {
                    tracing::error!(event = "store_lost", error, "the store does not answer");
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn sweep_once(pools: &Pools) -> Result<(), String> {
    for pool in pools.all() {
        let policy = pool.policy();
        let count = pool.within_limit(pool.store().sweep(policy)).await.map_err(|error| error.chain())?;
        if count > 0 {
            tracing::info!(event = "leases_lapsed", pool = %policy.name, count, "leases lapsed without a report");
        }
    }
    Ok(())
}
