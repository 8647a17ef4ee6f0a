//! Increments: uses that have happened are counted, whatever the state of their keys.

use super::desk::{Caller, Desk, Service, earliest, refuse};
use super::{Pool, PoolError, PoolInner};
use crate::domain::{KeyId, KeyRef, Timestamp, UsageCount};
use crate::store::Incremented;

/// A key of which one use more was counted.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The key.
    pub id: KeyId,
    /// The count afterwards, with the uses of those who counted in the same step.
    pub usage_count: UsageCount,
    /// The stamp of this count.
    pub last_used: Timestamp,
}

/// The desk of those who count a use.
pub(super) struct Increments;

impl Service for Increments {
    type Ask = KeyRef;
    type Got = Incremented;
    type Leave = ();

    const NAME: &'static str = "increment";

    fn desk(pool: &PoolInner) -> &Desk<Self> {
        &pool.increments
    }

    /// Nothing is handed out, and so nothing waits for its turn.
    async fn leave(_: &Pool) {}

    fn go_together(_: &KeyRef, _: &KeyRef) -> bool {
        true
    }

    async fn serve(pool: &Pool, callers: Vec<Caller<Self>>, (): ()) {
        let alone = match <[Caller<Self>; 1]>::try_from(callers) {
            Ok(one) => Vec::from(one),
            Err(callers) => {
                let keys: Vec<KeyRef> = callers.iter().map(|caller| caller.ask.clone()).collect();
                let counted = pool
                    .until("increment_all", earliest(&callers), pool.store().increment_all(pool.policy(), &keys))
                    .await;
                let counted = match counted {
                    Ok(counted) => counted,
                    Err(error) => return refuse(callers, error.maybe_counted()),
                };
                pool.tell_incremented(counted.iter().flatten());
                let mut alone = Vec::new();
                for (caller, counted) in callers.into_iter().zip(counted) {
                    match counted {
                        Some(counted) => caller.answer(Ok(counted)),
                        None => alone.push(caller),
                    }
                }
                alone
            }
        };
        for caller in alone {
            let counted = pool.store().increment_usage(pool.policy(), &caller.ask);
            let counted = pool.until("increment_usage", caller.deadline, counted).await;
            pool.tell_incremented(&counted);
            caller.answer(counted.map_err(PoolError::maybe_counted));
        }
    }
}

impl Pool {
    /// Counts one use of a key, whatever its state.
    ///
    /// # Errors
    /// [`PoolError::UnknownKey`]; [`PoolError::InvalidKey`] where the count is no number, and nothing was changed;
    /// [`PoolError::MaybeCounted`] where the answer was lost.
    pub async fn increment_usage(&self, key: &KeyRef) -> Result<Counted, PoolError> {
        match self.ask::<Increments>(key.clone()).await? {
            Incremented::UnknownKey => Err(PoolError::UnknownKey),
            Incremented::InvalidKey => Err(PoolError::InvalidKey),
            Incremented::Counted { id, usage_count, last_used } => Ok(Counted { id, usage_count, last_used }),
        }
    }
}
