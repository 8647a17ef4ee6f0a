//! What a pool does for its key file.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Pool, PoolError};
use crate::domain::{KeyId, NewKey, Transition};
use crate::store::Brought;

/// How long an instance that dies keeps the others from the file, unless the store may take longer for one step.
const LOCK: Duration = Duration::from_secs(30);

/// While it lasts, the pool's first keys are on their way: that it has none is not said.
pub struct ComingKeys(Pool);

impl Drop for ComingKeys {
    fn drop(&mut self) {
        self.0.0.keys_are_coming.store(false, Ordering::Release);
    }
}

impl Pool {
    /// Expects keys from the pool's key file, until what is answered is dropped: callers are told meanwhile that the
    /// store is not ready, and not that the pool has no key.
    pub fn expect_keys(&self) -> ComingKeys {
        self.0.keys_are_coming.store(true, Ordering::Release);
        ComingKeys(self.clone())
    }

    /// Adds the keys of the pool's key file in this order, and makes those that it has already the file's; one verdict
    /// per key.
    ///
    /// # Errors
    /// Where the store does not answer: some may have been added. The same ones can be brought again.
    pub async fn bring(&self, keys: &[NewKey]) -> Result<Vec<Brought>, PoolError> {
        let brought = self.within_limit("bring", self.store().bring(self.policy(), keys)).await?;
        self.0.line.freed();
        Ok(brought)
    }

    /// Disables those of these keys that are the file's and active. Answers how many.
    ///
    /// # Errors
    /// Where the store does not answer: it can be repeated.
    pub async fn withdraw(&self, ids: &[KeyId]) -> Result<u64, PoolError> {
        let withdrawn = self.within_limit("withdraw", self.store().withdraw(self.policy(), ids)).await?;
        if withdrawn > 0 {
            let one = ids.first().copied().filter(|_| ids.len() == 1);
            self.tell_moved(Transition::RemovedFromFile, one, withdrawn);
        }
        Ok(withdrawn)
    }

    /// Lets this owner alone bring and withdraw, for at least one step from now. False = another one may.
    ///
    /// # Errors
    /// Where the store does not answer: it can be repeated.
    pub async fn lock_file(&self, owner: &str) -> Result<bool, PoolError> {
        // For the answer to this, and for the step.
        let lasts = LOCK.max(2 * self.0.time_limit);
        self.within_limit("lock", self.store().lock(&self.file_lock(), owner, lasts)).await
    }

    /// Lets others do so, where this owner has the lock.
    ///
    /// # Errors
    /// Where the store does not answer: the lock ends by itself.
    pub async fn unlock_file(&self, owner: &str) -> Result<(), PoolError> {
        self.within_limit("unlock", self.store().unlock(&self.file_lock(), owner)).await
    }

    fn file_lock(&self) -> String {
        format!("files:{}", self.policy().name)
    }

    /// Whether the older server's state was taken over.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn state_taken_over(&self) -> Result<bool, PoolError> {
        self.within_limit("state_taken_over", self.store().state_taken_over(self.policy())).await
    }

    /// Records that it was, for good.
    ///
    /// # Errors
    /// Where the store does not answer: it can be repeated.
    pub async fn record_state_taken_over(&self) -> Result<(), PoolError> {
        self.within_limit("record_state_taken_over", self.store().record_state_taken_over(self.policy())).await
    }
}
