//! Taking: a key handed out and counted in one step, without a lease.

use tokio::time::Instant;

use super::desk::{Caller, Desk, Service, Turn, earliest, refuse};
use super::{Pool, PoolError, PoolInner};
use crate::domain::UsageCount;
use crate::metrics::HandOut;
use crate::store::Taken;

/// The desk of the takes: those who go together take uses of the same key, as many as are left.
pub(super) struct Takes;

impl Service for Takes {
    type Ask = ();
    type Got = Taken;
    type Leave = Turn;

    const NAME: &'static str = "take";

    fn desk(pool: &PoolInner) -> &Desk<Self> {
        &pool.takes
    }

    async fn leave(pool: &Pool) -> Turn {
        pool.turn().await
    }

    fn go_together((): &(), (): &()) -> bool {
        true
    }

    async fn serve(pool: &Pool, mut callers: Vec<Caller<Self>>, turn: Turn) {
        let deadline = earliest(&callers);
        let uses = u32::try_from(callers.len()).unwrap_or(u32::MAX);
        let taken = pool.look(pool.policy().uses_per_key, deadline, || async {
            pool.until("take", deadline, pool.store().take(pool.policy(), uses)).await
        });
        let taken = match taken.await {
            Ok(taken) => taken,
            Err(error) => {
                if error.is_unresolved() {
                    pool.wait_out(turn);
                }
                return refuse(callers, error);
            }
        };
        drop(turn);
        pool.tell_handed_out(taken.id);
        pool.tell_counted([(taken.id, UsageCount::Whole(taken.usage_count))]);
        let again = callers.split_off(callers.len().min(taken.uses as usize));
        for caller in callers {
            caller.answer(Ok(Taken { uses: 1, ..taken.clone() }));
        }
        pool.0.takes.go_again(again);
    }
}

impl Pool {
    /// Hands out the key that goes first and counts one use of it, in one durable step. `usage_count` of the answer
    /// counts the uses of those who took in the same step too.
    ///
    /// A take whose answer is lost may have counted its use, and keeps it counted: nobody can say whether somebody
    /// got the key.
    ///
    /// # Errors
    /// [`PoolError::NoUsableKey`] after a look that could have found one.
    pub async fn take(&self) -> Result<Taken, PoolError> {
        self.check_resolved()?;
        let came = Instant::now();
        let taken = self.ask::<Takes>(()).await;
        self.measure_empty(self.measure(came, taken, |_| HandOut::Take))
    }
}
