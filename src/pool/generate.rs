//! Generate: the pool's command makes a key; where there is none, a person is asked for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Pool, PoolError, Verification, lock_owner};
use crate::back_off::BackOff;
use crate::domain::key_request::MOST_REQUESTS;
use crate::domain::{DisabledReason, Generate, KeyId, KeyRequest, NewKey, RequestId, Secret, Verdict};
use crate::provider::{self, GenerateError, Made, Unsaid};
use crate::store::{Added, StoreError};

/// How long a key that was made is kept for a store that is away: it may exist nowhere else.
const KEPT: Duration = Duration::from_secs(300);

/// What the lock lasts beyond the command and the provider's answer.
const SPARE: Duration = KEPT.saturating_add(Duration::from_secs(30));

/// What came of asking for a key.
#[derive(Debug)]
pub enum Generated {
    /// The command made one, and it was added.
    Added(Box<Verification>),
    /// There is no command: a person was asked.
    Asked {
        /// The request.
        id: RequestId,
        /// How many are open now, with this one.
        open: u64,
    },
}

impl Pool {
    /// Has a key made for the pool, or asks a person for one. `by`: who wants it.
    ///
    /// # Errors
    /// [`PoolError::NotGenerated`] where the command made none; [`PoolError::Generating`] where it is at it already, on
    /// whichever instance.
    pub async fn generate(&self, by: &str) -> Result<Generated, PoolError> {
        let Some(generate) = self.policy().provider.generate.clone() else {
            return self.ask_for_key(RequestId::new(rand::random()), by).await;
        };
        // Detached: what a command made is not lost where the caller has gone.
        let pool = self.clone();
        let ending = self.0.ending.clone();
        let made = self.0.settling.spawn(async move { ending.run_until_cancelled(pool.make(&generate)).await });
        let made = made.await.ok().flatten();
        let stopping = || PoolError::Store(StoreError::Away("the instance is stopping".into()));
        made.unwrap_or_else(|| Err(stopping())).map(|added| Generated::Added(Box::new(added)))
    }

    async fn make(&self, generate: &Generate) -> Result<Verification, PoolError> {
        let lock = format!("generate:{}", self.policy().collection);
        let owner = lock_owner();
        let answer = self.policy().provider.verify.as_ref().map_or(Duration::ZERO, |verify| verify.timeout);
        let lasts = generate.timeout + answer + SPARE;
        if !self.within_limit("lock", self.store().lock(&lock, &owner, lasts)).await? {
            return Err(PoolError::Generating);
        }
        let made = self.make_alone(generate).await;
        if let Err(error) = self.within_limit("unlock", self.store().unlock(&lock, &owner)).await {
            tracing::debug!(pool = %self.policy().name, error = error.chain(), "a lock ends by itself");
        }
        let outcome = if made.is_ok() { "added" } else { "failed" };
        let error = made.as_ref().err().map(PoolError::chain);
        let key = made.as_ref().ok().map(|made| tracing::field::display(made.key.value.key.id));
        tracing::info!(event = "key_generated", pool = %self.policy().name, outcome, key.id = key, error, "the command of the pool was run");
        made
    }

    /// Runs the command, asks the provider about the key, adds it.
    async fn make_alone(&self, generate: &Generate) -> Result<Verification, PoolError> {
        let not_made = |error| PoolError::NotGenerated(Arc::new(error));
        let Made { secret, note } = provider::make(generate, &self.policy().name).await.map_err(not_made)?;
        let verdict = match &self.policy().provider.verify {
            Some(verify) => provider::ask(verify, &secret).await,
            None => Err(Unsaid::NotAsked),
        };
        // It may be refused because its provider does not know it yet, and it may exist nowhere else: it is kept, and
        // verify brings it back.
        let reason = match verdict {
            Ok(Verdict::Rejected) => Some(DisabledReason::Rejected),
            Ok(Verdict::Exhausted) => Some(DisabledReason::Exhausted),
            Ok(Verdict::Alive { .. } | Verdict::RateLimited { .. }) | Err(_) => None,
        };
        let key =
            NewKey { note, is_active: reason.is_none(), disabled_reason: reason, ..NewKey::fresh(secret.clone()) };
        let Added::New(id) = self.add_surely(key).await? else { return Err(not_made(GenerateError::Known)) };
        let judged = match verdict {
            Ok(verdict) => self.judge(id, &secret, verdict).await?,
            Err(_) => None,
        };
        self.0.line.freed();
        let key = match judged {
            Some(judged) => judged,
            None => self.show(id).await?,
        };
        Ok(Verification { verdict, key })
    }

    /// Adds a key that exists nowhere else: as often as it takes, as long as it is kept.
    async fn add_surely(&self, key: NewKey) -> Result<Added, PoolError> {
        let until = Instant::now() + KEPT;
        let mut back_off = BackOff::new();
        // Its own id: so a repeat whose first answer was lost is told from a key that the pool had before.
        let id = KeyId::from_bytes(bson::oid::ObjectId::new().bytes());
        let key = NewKey { id: Some(id), ..key };
        let mut repeated = false;
        loop {
            match self.add(std::slice::from_ref(&key)).await {
                Ok(added) => {
                    let known = added.verdicts.first().copied().unwrap_or(Added::Known);
                    return Ok(if repeated && known == Added::Known && self.is_at(id, &key.secret).await? {
                        Added::New(id)
                    } else {
                        known
                    });
                }
                Err(PoolError::Store(_) | PoolError::Overloaded) if Instant::now() < until => repeated = true,
                Err(error) => return Err(error),
            }
            sleep(back_off.next()).await;
        }
    }

    async fn is_at(&self, id: KeyId, secret: &Secret) -> Result<bool, PoolError> {
        match self.show(id).await {
            Ok(seen) => Ok(seen.value.key.secret.is_some_and(|its| its.expose() == secret.expose())),
            Err(PoolError::UnknownKey) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks a person for a key, where not too many are asked for already.
    pub(super) async fn ask_for_key(&self, id: RequestId, by: &str) -> Result<Generated, PoolError> {
        let open = self.key_requests().await?;
        if open.len() >= MOST_REQUESTS {
            let last = open.into_iter().next_back().map_or(id, |request| request.id);
            return Ok(Generated::Asked { id: last, open: MOST_REQUESTS as u64 });
        }
        let is_new = self.within_limit("request_key", self.store().request_key(self.policy(), &id, by)).await?;
        let open = open.len() as u64 + u64::from(is_new);
        if is_new {
            tracing::warn!(event = "key_requested", pool = %self.policy().name, by, open, "a key is wanted: {}", self.hand_in());
        }
        Ok(Generated::Asked { id, open })
    }

    /// What a person types who has a key for the pool.
    pub fn hand_in(&self) -> String {
        let verify = if self.verifies().is_ok() { " --verify" } else { "" };
        format!("keylend keys add --pool {}{verify} -", self.policy().name)
    }

    /// The keys that people were asked for and did not bring yet, the oldest request first.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn key_requests(&self) -> Result<Vec<KeyRequest>, PoolError> {
        self.within_limit("key_requests", self.store().key_requests(self.policy())).await
    }

    /// Closes these requests. Answers how many of them were open.
    ///
    /// # Errors
    /// Where the store does not answer: it can be repeated.
    pub async fn close_key_requests(&self, ids: &[RequestId]) -> Result<u64, PoolError> {
        self.within_limit("close_key_requests", self.store().close_key_requests(self.policy(), ids)).await
    }

    /// Somebody brought so many keys: as many requests are closed, the oldest first. Answers how many.
    pub(super) async fn answer_key_requests(&self, brought: u64) -> Result<u64, PoolError> {
        let mut closed = 0;
        // Others may close the same ones: then the next ones are this one's.
        while closed < brought {
            let open = self.key_requests().await?;
            let missing = usize::try_from(brought - closed).unwrap_or(usize::MAX);
            let oldest: Vec<RequestId> = open.into_iter().take(missing).map(|request| request.id).collect();
            if oldest.is_empty() {
                break;
            }
            closed += self.close_key_requests(&oldest).await?;
        }
        Ok(closed)
    }
}
