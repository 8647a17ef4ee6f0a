//! Verify: the provider is asked whether a key is alive, and what it says is applied to the key.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Pool, PoolError, Pools, lock_owner};
use crate::domain::{DisabledReason, Judgement, KeyId, KeyRecord, Secret, State, Transition, Verdict, Verify};
use crate::provider::{self, Unsaid};
use crate::store::Seen;

/// How many times a key is asked about whose secret is changed meanwhile.
const TRIES: usize = 2;

/// The pause between two keys of a pass: nobody waits for it, and providers count what they are asked.
const BETWEEN: Duration = Duration::from_secs(1);

/// After how many answers in a row that said nothing a pass ends.
const UNSAID: u32 = 3;

/// How many keys a pass reads at a time.
const PART: u32 = 100;

/// What the lock of a pass lasts beyond the answer that it waits for.
const SPARE: Duration = Duration::from_secs(30);

/// What came of asking a provider about a key.
#[derive(Debug)]
pub struct Verification {
    /// What it said; else why it said nothing: then nothing was changed.
    pub verdict: Result<Verdict, Unsaid>,
    /// The key afterwards.
    pub key: Seen<KeyRecord>,
}

impl Pool {
    /// How this pool's provider is asked.
    ///
    /// # Errors
    /// [`PoolError::CannotVerify`] where the settings do not say.
    pub fn verifies(&self) -> Result<&Verify, PoolError> {
        self.policy().provider.verify.as_ref().ok_or_else(|| PoolError::CannotVerify(self.policy().name.clone()))
    }

    /// Asks the provider whether this key is alive.
    ///
    /// # Errors
    /// [`PoolError::CannotVerify`]; [`PoolError::UnknownKey`]; [`PoolError::InvalidKey`] where it has no secret to ask with.
    pub async fn verify(&self, id: KeyId) -> Result<Verification, PoolError> {
        for _ in 0..TRIES {
            let key = self.show(id).await?;
            let verify = self.verifies()?;
            let secret = key.value.key.secret.clone().ok_or(PoolError::InvalidKey)?;
            let verdict = match provider::ask(verify, &secret).await {
                Ok(verdict) => verdict,
                Err(unsaid) => {
                    self.tell_unsaid(id, &unsaid);
                    return Ok(Verification { verdict: Err(unsaid), key });
                }
            };
            if let Some(after) = self.judge(id, &secret, verdict).await? {
                self.tell_judged(verdict, key.value.key.is_active, &after);
                return Ok(Verification { verdict: Ok(verdict), key: after });
            }
        }
        Err(PoolError::UnknownKey)
    }

    /// Applies what the provider said of this secret. None = no key has this id and this secret any more.
    pub(super) async fn judge(
        &self,
        id: KeyId,
        secret: &Secret,
        verdict: Verdict,
    ) -> Result<Option<Seen<KeyRecord>>, PoolError> {
        self.within_limit("judge", self.store().judge(self.policy(), id, secret, verdict)).await
    }

    fn tell_unsaid(&self, id: KeyId, unsaid: &Unsaid) {
        tracing::warn!(event = "key_verified", pool = %self.policy().name, key.id = %id, outcome = "unknown", error = %unsaid, "nothing is known of the key");
    }

    /// What was said of a key, and what became of it by that.
    fn tell_judged(&self, verdict: Verdict, was_active: bool, after: &Seen<KeyRecord>) {
        let key = &after.value.key;
        let state = crate::domain::state::state(key, self.policy().uses_per_key, after.now);
        tracing::info!(
            event = "key_verified",
            pool = %self.policy().name,
            key.id = %key.id,
            outcome = verdict.as_str(),
            state = state.as_str(),
            "the provider was asked about the key"
        );
        let transition = match (was_active, key.is_active, verdict.judgement(self.policy())) {
            (false, true, Judgement::Enable(_)) => Transition::Enabled,
            (true, false, Judgement::Disable(DisabledReason::Exhausted)) => Transition::Exhausted,
            (true, false, Judgement::Disable(_)) => Transition::Rejected,
            (_, _, Judgement::Rest(_)) => Transition::RateLimited,
            _ => return,
        };
        self.tell_moved(transition, Some(key.id), 1);
        if transition == Transition::Enabled {
            self.0.line.freed();
        }
    }

    /// Asks about the keys that reports disabled, one after the other. Answers how many.
    ///
    /// # Errors
    /// Where the store does not answer.
    async fn verify_disabled(&self, verify: &Verify, lock: &str, owner: &str) -> Result<u64, PoolError> {
        let (mut asked, mut unsaid) = (0, 0);
        let mut disabled = self.walk(PART).only(Some(State::Disabled));
        while let Some(part) = disabled.next().await? {
            for record in &part.value {
                if !record.disabled_reason.is_some_and(DisabledReason::is_of_report) {
                    continue;
                }
                if asked > 0 {
                    sleep(BETWEEN).await;
                }
                // Whoever waits for the lock sees that the pass goes on.
                let lasts = verify.timeout + SPARE;
                if !self.within_limit("lock", self.store().lock(lock, owner, lasts)).await? {
                    return Ok(asked);
                }
                asked += 1;
                match self.verify(record.key.id).await {
                    // It was removed meanwhile, or somebody else wrote into it.
                    Err(PoolError::UnknownKey | PoolError::InvalidKey) => {}
                    Err(error) => return Err(error),
                    Ok(Verification { verdict: Ok(Verdict::RateLimited { .. }), .. }) => return Ok(asked),
                    Ok(Verification { verdict: Ok(_), .. }) => unsaid = 0,
                    Ok(Verification { verdict: Err(_), .. }) => unsaid += 1,
                }
                if unsaid == UNSAID {
                    return Ok(asked);
                }
            }
        }
        Ok(asked)
    }

    /// Passes over the keys that reports disabled, one instance at a time, with this pause between two.
    async fn verify_again_and_again(&self, verify: &Verify, pause: Duration) {
        let name = format!("verify:{}", self.policy().collection);
        loop {
            sleep(pause).await;
            // Each pass has its own: so the pause is one for this instance too.
            let owner = lock_owner();
            let lasts = pause.max(verify.timeout + SPARE);
            let passed = async {
                if !self.within_limit("lock", self.store().lock(&name, &owner, lasts)).await? {
                    return Ok(0);
                }
                let passed = self.verify_disabled(verify, &name, &owner).await;
                // From its end on, for other instances.
                self.within_limit("lock", self.store().lock(&name, &owner, pause)).await?;
                passed
            };
            if let Err(error) = passed.await {
                tracing::debug!(pool = %self.policy().name, error = PoolError::chain(&error), "keys were not verified");
            }
        }
    }
}

/// Verifies the disabled keys of the pools that have it switched on, again and again until `stop`.
pub async fn verify_until(pools: Pools, stop: CancellationToken) {
    let passes = pools.all().filter_map(|pool| {
        let verify = pool.policy().provider.verify.as_ref()?;
        Some(pool.verify_again_and_again(verify, verify.sweep?))
    });
    stop.run_until_cancelled(join_all(passes)).await;
}
