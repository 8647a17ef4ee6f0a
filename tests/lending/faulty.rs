//! A store whose answers can be held up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keylend::domain::{
    Key, KeyChange, KeyId, KeyRecord, KeyRef, KeyRequest, LeaseId, NewKey, OpenLease, Policy, PoolStats, Report,
    RequestId, Secret, Timestamp, Verdict,
};
use keylend::store::sqlite::SqliteStore;
use keylend::store::{
    AddedKeys, Brought, Changed, DatabaseFound, Examination, FoundKey, Incremented, Keeping, KeptAnew, LeaseAnswer,
    LeaseRequest, LeasedKey, Page, Seen, Settled, Store, StoreError, Taken,
};
use tokio::sync::{Notify, watch};

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(dead_code, reason = "not every test needs each")]
pub enum Stall {
    /// Nothing.
    Nothing,
    /// Leases are made and never answered; everything else waits until it is healed.
    AfterApplying,
    /// Everything waits until it is healed, and is done then.
    UntilHealed,
    /// Leases are answered so much later.
    Late(Duration),
    /// Keys that are looked up wait until it is healed.
    LookUps,
    /// Whoever looks a key up panics.
    Panic,
    /// No pool but the first is prepared until it is healed.
    FirstPool,
    /// Several keys that are brought at once come without the first, and the answer is lost.
    BreaksOff,
}

pub struct Faulty {
    inner: SqliteStore,
    stall: watch::Sender<Stall>,
    asked: Notify,
    given_back: AtomicU64,
    looked_up: AtomicU64,
    locks_asked: AtomicU64,
    last_lock: watch::Sender<Duration>,
    lists_asked: AtomicU64,
}

impl Faulty {
    pub fn new(inner: SqliteStore) -> Self {
        Self {
            inner,
            stall: watch::Sender::new(Stall::Nothing),
            asked: Notify::new(),
            given_back: AtomicU64::new(0),
            looked_up: AtomicU64::new(0),
            locks_asked: AtomicU64::new(0),
            last_lock: watch::Sender::default(),
            lists_asked: AtomicU64::new(0),
        }
    }

    /// The store itself, past the faults.
    #[allow(dead_code, reason = "for tests of lending")]
    pub fn inner(&self) -> &SqliteStore {
        &self.inner
    }

    pub fn stall(&self, stall: Stall) {
        self.stall.send_replace(stall);
    }

    pub fn heal(&self) {
        self.stall(Stall::Nothing);
    }

    /// Waits until a lease was asked.
    #[allow(dead_code, reason = "for tests of lending")]
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// How many leases were given back.
    #[allow(dead_code, reason = "for tests of lending")]
    pub fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::SeqCst)
    }

    /// How often a key was to be looked up.
    #[allow(dead_code, reason = "for tests of the routes")]
    pub fn looked_up(&self) -> u64 {
        self.looked_up.load(Ordering::SeqCst)
    }

    /// How often a lock was asked for.
    #[allow(dead_code, reason = "for tests of key files")]
    pub fn locks_asked(&self) -> u64 {
        self.locks_asked.load(Ordering::SeqCst)
    }

    /// How often a part of a pool was asked for.
    #[allow(dead_code, reason = "for tests of key files")]
    pub fn lists_asked(&self) -> u64 {
        self.lists_asked.load(Ordering::SeqCst)
    }

    /// How long the last one was to last.
    #[allow(dead_code, reason = "for tests of key files")]
    pub fn last_lock(&self) -> Duration {
        *self.last_lock.borrow()
    }

    async fn gate(&self) {
        let closed = |stall: &Stall| matches!(stall, Stall::AfterApplying | Stall::UntilHealed);
        self.stall.subscribe().wait_for(|stall| !closed(stall)).await.unwrap();
    }
}

#[async_trait]
impl Store for Faulty {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn at_once(&self) -> usize {
        self.inner.at_once()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.gate().await;
        self.inner.ping().await
    }

    async fn prepare(&self, pool: &Policy) -> Result<Vec<String>, StoreError> {
        if pool.name.as_str() != "stability" {
            self.stall.subscribe().wait_for(|stall| *stall != Stall::FirstPool).await.unwrap();
        }
        self.inner.prepare(pool).await
    }

    async fn find_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<FoundKey>, StoreError> {
        self.gate().await;
        self.inner.find_usable_key(pool, uses_per_key).await
    }

    async fn peek_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<Seen<Key>>, StoreError> {
        self.gate().await;
        self.inner.peek_usable_key(pool, uses_per_key).await
    }

    async fn increment_usage(&self, pool: &Policy, key: &KeyRef) -> Result<Incremented, StoreError> {
        self.gate().await;
        self.inner.increment_usage(pool, key).await
    }

    async fn increment_all(&self, pool: &Policy, keys: &[KeyRef]) -> Result<Vec<Option<Incremented>>, StoreError> {
        self.gate().await;
        self.inner.increment_all(pool, keys).await
    }

    async fn look_up(&self, pool: &Policy, key: &KeyRef) -> Result<Option<Seen<Key>>, StoreError> {
        self.gate().await;
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        self.stall.subscribe().wait_for(|stall| *stall != Stall::LookUps).await.unwrap();
        assert!(*self.stall.borrow() != Stall::Panic, "as the test wants it");
        self.inner.look_up(pool, key).await
    }

    async fn lease(&self, pool: &Policy, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError> {
        self.asked.notify_one();
        let stall = *self.stall.borrow();
        if stall == Stall::AfterApplying {
            self.inner.lease(pool, request).await?;
            return std::future::pending().await;
        }
        self.gate().await;
        let answer = self.inner.lease(pool, request).await;
        if let Stall::Late(delay) = stall {
            tokio::time::sleep(delay).await;
        }
        answer
    }

    async fn lease_all(&self, pool: &Policy, requests: &[LeaseRequest]) -> Result<Vec<LeaseAnswer>, StoreError> {
        self.asked.notify_one();
        let stall = *self.stall.borrow();
        if stall == Stall::AfterApplying {
            self.inner.lease_all(pool, requests).await?;
            return std::future::pending().await;
        }
        self.gate().await;
        let answer = self.inner.lease_all(pool, requests).await;
        if let Stall::Late(delay) = stall {
            tokio::time::sleep(delay).await;
        }
        answer
    }

    async fn find_all(&self, pool: &Policy, uses_per_key: u32, callers: usize) -> Result<Vec<FoundKey>, StoreError> {
        self.gate().await;
        self.inner.find_all(pool, uses_per_key, callers).await
    }

    async fn give_back(&self, pool: &Policy, request: &LeaseRequest) -> Result<bool, StoreError> {
        self.gate().await;
        let there = self.inner.give_back(pool, request).await?;
        self.given_back.fetch_add(u64::from(there), Ordering::SeqCst);
        Ok(there)
    }

    async fn report(&self, pool: &Policy, lease: &LeaseId, report: Report) -> Result<Option<Settled>, StoreError> {
        self.gate().await;
        self.inner.report(pool, lease, report).await
    }

    async fn report_used(&self, pool: &Policy, leases: &[LeaseId]) -> Result<Vec<Option<Settled>>, StoreError> {
        self.gate().await;
        self.inner.report_used(pool, leases).await
    }

    async fn renew(&self, pool: &Policy, lease: &LeaseId, ttl: Duration) -> Result<Option<Timestamp>, StoreError> {
        self.gate().await;
        self.inner.renew(pool, lease, ttl).await
    }

    async fn sweep(&self, pool: &Policy) -> Result<u64, StoreError> {
        self.gate().await;
        self.inner.sweep(pool).await
    }

    async fn take(&self, pool: &Policy, uses: u32) -> Result<Option<Taken>, StoreError> {
        self.gate().await;
        self.inner.take(pool, uses).await
    }

    async fn add(&self, pool: &Policy, keys: &[NewKey]) -> Result<AddedKeys, StoreError> {
        self.gate().await;
        self.inner.add(pool, keys).await
    }

    async fn bring(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<Brought>, StoreError> {
        self.gate().await;
        if *self.stall.borrow() == Stall::BreaksOff && keys.len() > 1 {
            self.inner.bring(pool, &keys[1..]).await?;
            return Err(StoreError::Unresolved("the answer was lost".into()));
        }
        self.inner.bring(pool, keys).await
    }

    async fn withdraw(&self, pool: &Policy, ids: &[KeyId]) -> Result<u64, StoreError> {
        self.gate().await;
        self.inner.withdraw(pool, ids).await
    }

    async fn lock(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, StoreError> {
        self.gate().await;
        self.locks_asked.fetch_add(1, Ordering::SeqCst);
        self.last_lock.send_replace(lasts);
        self.inner.lock(name, owner, lasts).await
    }

    async fn unlock(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        self.gate().await;
        self.inner.unlock(name, owner).await
    }

    async fn state_taken_over(&self, pool: &Policy) -> Result<bool, StoreError> {
        self.gate().await;
        self.inner.state_taken_over(pool).await
    }

    async fn record_state_taken_over(&self, pool: &Policy) -> Result<(), StoreError> {
        self.gate().await;
        self.inner.record_state_taken_over(pool).await
    }

    async fn known(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<bool>, StoreError> {
        self.gate().await;
        self.inner.known(pool, keys).await
    }

    async fn list(&self, pool: &Policy, page: Page) -> Result<Seen<Vec<KeyRecord>>, StoreError> {
        self.gate().await;
        self.lists_asked.fetch_add(1, Ordering::SeqCst);
        self.inner.list(pool, page).await
    }

    async fn show(&self, pool: &Policy, id: KeyId) -> Result<Option<Seen<KeyRecord>>, StoreError> {
        self.gate().await;
        self.inner.show(pool, id).await
    }

    async fn change(&self, pool: &Policy, id: KeyId, change: &KeyChange) -> Result<Changed, StoreError> {
        self.gate().await;
        self.inner.change(pool, id, change).await
    }

    async fn judge(
        &self,
        pool: &Policy,
        id: KeyId,
        secret: &Secret,
        verdict: Verdict,
    ) -> Result<Option<Seen<KeyRecord>>, StoreError> {
        self.gate().await;
        self.inner.judge(pool, id, secret, verdict).await
    }

    async fn keep_anew(&self, pool: &Policy, id: KeyId, keeping: Keeping) -> Result<KeptAnew, StoreError> {
        self.inner.keep_anew(pool, id, keeping).await
    }

    async fn request_key(&self, pool: &Policy, id: &RequestId, by: &str) -> Result<bool, StoreError> {
        self.gate().await;
        self.inner.request_key(pool, id, by).await
    }

    async fn key_requests(&self, pool: &Policy) -> Result<Vec<KeyRequest>, StoreError> {
        self.gate().await;
        self.inner.key_requests(pool).await
    }

    async fn close_key_requests(&self, pool: &Policy, ids: &[RequestId]) -> Result<u64, StoreError> {
        self.gate().await;
        self.inner.close_key_requests(pool, ids).await
    }

    async fn remove(&self, pool: &Policy, id: KeyId) -> Result<bool, StoreError> {
        self.gate().await;
        self.inner.remove(pool, id).await
    }

    async fn reset(&self, pool: &Policy, ids: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        self.gate().await;
        self.inner.reset(pool, ids).await
    }

    async fn find_lease(&self, pool: &Policy, lease: &LeaseId) -> Result<Option<OpenLease>, StoreError> {
        self.gate().await;
        self.inner.find_lease(pool, lease).await
    }

    async fn find_same(&self, pool: &Policy, request: &LeaseRequest) -> Result<Option<LeasedKey>, StoreError> {
        self.gate().await;
        self.inner.find_same(pool, request).await
    }

    async fn stats(&self, pool: &Policy, uses_per_key: u32) -> Result<PoolStats, StoreError> {
        self.gate().await;
        self.inner.stats(pool, uses_per_key).await
    }

    async fn record_policy(&self, pool: &Policy) -> Result<Option<String>, StoreError> {
        self.gate().await;
        self.inner.record_policy(pool).await
    }

    async fn examine(&self, pool: &Policy, listed: u32) -> Result<Examination, StoreError> {
        self.gate().await;
        self.inner.examine(pool, listed).await
    }

    async fn databases(&self) -> Result<Vec<DatabaseFound>, StoreError> {
        self.gate().await;
        self.inner.databases().await
    }
}
