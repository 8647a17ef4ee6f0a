//! Taking: a key handed out and counted in one step, without a lease.

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::{Pool, PoolError};
use crate::store::{StoreError, Taken};

impl Pool {
    /// Hands out the key that goes first and counts one use of it, in one durable step.
    ///
    /// A take whose answer is lost may have counted its use, and keeps it counted: nobody can say whether somebody
    /// got the key.
    ///
    /// # Errors
    /// [`PoolError::NoUsableKey`] after a look that could have found one.
    pub async fn take(&self) -> Result<Taken, PoolError> {
        let deadline = self.deadline();
        let turn = self.turn().await?;
        let pool = self.clone();
        self.detached(async move { pool.take_in_turn(deadline, turn).await }).await
    }

    async fn take_in_turn(&self, deadline: Instant, turn: OwnedMutexGuard<()>) -> Result<Taken, PoolError> {
        let taken = self
            .look(self.policy().uses_per_key, deadline, || async {
                self.until(deadline, self.store().take(self.policy(), 1)).await
            })
            .await;
        match taken {
            Ok(taken) => {
                drop(turn);
                self.tell_handed_out(taken.id);
                Ok(taken)
            }
            Err(PoolError::Store(error @ StoreError::Unresolved(_))) => {
                self.wait_out(turn);
                Err(PoolError::Store(error))
            }
            Err(error) => Err(error),
        }
    }
}
