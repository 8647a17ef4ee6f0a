//! Keys of an import that their provider is asked about before they are added.

use futures_util::StreamExt;
use futures_util::stream;

use super::{Import, InvalidLine};
use crate::domain::{NewKey, Secret, Verdict, Verify};
use crate::pool::PoolError;
use crate::provider::{self, Unsaid};
use crate::store::Added;

/// How many keys a provider is asked about at once.
const ASKED_AT_ONCE: usize = 4;

impl Import<'_> {
    /// The same, but the provider is asked about each key first: what it rejects, or gives no more on, is not added.
    ///
    /// # Errors
    /// [`PoolError::CannotVerify`] where the settings do not say how.
    pub fn verifying(self) -> Result<Self, PoolError> {
        let mut verifying = self;
        verifying.verify = Some(verifying.pool.verifies()?);
        Ok(verifying)
    }

    /// Asks the provider about the keys that the pool does not have, a few at once, and adds those that it takes, or
    /// says nothing of.
    pub(super) async fn add_verified(
        &mut self,
        verify: &Verify,
        numbers: Vec<u64>,
        keys: Vec<NewKey>,
    ) -> Result<(), PoolError> {
        let known = self.pool.known(&keys).await?;
        let (mut numbered, mut new) = (Vec::new(), Vec::new());
        for ((number, key), known) in numbers.into_iter().zip(keys).zip(known) {
            if known {
                self.judged(number, true);
            } else {
                numbered.push(number);
                new.push(key);
            }
        }
        let secrets: Vec<Secret> = new.iter().map(|key| key.secret.clone()).collect();
        let asked = secrets.into_iter().map(|secret| {
            let verify = verify.clone();
            async move { provider::ask(&verify, &secret).await }
        });
        let verdicts: Vec<Result<Verdict, Unsaid>> = stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await;
        let mut taken = Vec::new();
        for ((number, key), verdict) in numbered.into_iter().zip(new).zip(verdicts) {
            match verdict {
                Ok(Verdict::Rejected) => self.refused(number, InvalidLine::Rejected),
                Ok(Verdict::Exhausted) => self.refused(number, InvalidLine::Exhausted),
                verdict => taken.push((number, key, verdict)),
            }
        }
        let keys: Vec<NewKey> = taken.iter().map(|(_, key, _)| key.clone()).collect();
        let added = self.pool.add(&keys).await?;
        self.summary.race_proof &= added.race_proof;
        for ((number, key, verdict), added) in taken.into_iter().zip(added.verdicts) {
            self.judged(number, added == Added::Known);
            let Added::New(id) = added else { continue };
            match verdict {
                Ok(verdict) => _ = self.pool.judge(id, &key.secret, verdict).await?,
                Err(unsaid) => self.summary.unverified.get_or_insert((0, unsaid)).0 += 1,
            }
        }
        Ok(())
    }
}
