//! A store that tells of every hand-out and return that the store behind it acknowledged, answered or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keylend::domain::{
    Key, KeyChange, KeyId, KeyRecord, KeyRef, KeyRequest, LeaseId, NewKey, OpenLease, Policy, PoolStats, Report,
    RequestId, Secret, Timestamp, Verdict,
};
use keylend::store::{
    AddedKeys, Brought, Changed, DatabaseFound, Examination, FoundKey, Incremented, Keeping, KeptAnew, LeaseAnswer,
    LeaseRequest, LeasedKey, Page, Seen, Settled, Store, StoreError, Taken,
};
use serde_json::json;

/// The store behind, and what it did.
pub(crate) struct Witness {
    store: Arc<dyn Store>,
    leased: AtomicU64,
    given_back: AtomicU64,
}

impl Witness {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, leased: AtomicU64::new(0), given_back: AtomicU64::new(0) }
    }

    /// New leases.
    pub(crate) fn leased(&self) -> u64 {
        self.leased.load(Ordering::Relaxed)
    }

    /// Leases that were given back before they lapsed.
    pub(crate) fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for Witness {
    async fn lease(&self, pool: &Policy, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError> {
        let answer = self.store.lease(pool, request).await;
        if let Ok(LeaseAnswer::New(key)) = &answer {
            self.leased.fetch_add(1, Ordering::Relaxed);
            crate::say(&json!({"event": "leased", "key": key.id.to_string(), "entry": key.entry.to_string()}));
        }
        answer
    }

    async fn lease_all(&self, pool: &Policy, requests: &[LeaseRequest]) -> Result<Vec<LeaseAnswer>, StoreError> {
        let answer = self.store.lease_all(pool, requests).await;
        let new = answer.iter().flatten().filter_map(|answer| match answer {
            LeaseAnswer::New(key) => Some(key),
            LeaseAnswer::Same(_) | LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => None,
        });
        for key in new {
            self.leased.fetch_add(1, Ordering::Relaxed);
            crate::say(&json!({"event": "leased", "key": key.id.to_string(), "entry": key.entry.to_string()}));
        }
        answer
    }

    async fn find_all(&self, pool: &Policy, uses_per_key: u32, callers: usize) -> Result<Vec<FoundKey>, StoreError> {
        self.store.find_all(pool, uses_per_key, callers).await
    }

    async fn give_back(&self, pool: &Policy, request: &LeaseRequest) -> Result<bool, StoreError> {
        let answer = self.store.give_back(pool, request).await;
        if let Ok(true) = &answer {
            self.given_back.fetch_add(1, Ordering::Relaxed);
            crate::say(&json!({"event": "given_back", "entry": request.entry.to_string()}));
        }
        answer
    }

    // All others go through as they are.

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn at_once(&self) -> usize {
        self.store.at_once()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    async fn prepare(&self, pool: &Policy) -> Result<Vec<String>, StoreError> {
        self.store.prepare(pool).await
    }

    async fn find_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<FoundKey>, StoreError> {
        self.store.find_usable_key(pool, uses_per_key).await
    }

    async fn peek_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<Seen<Key>>, StoreError> {
        self.store.peek_usable_key(pool, uses_per_key).await
    }

    async fn increment_usage(&self, pool: &Policy, key: &KeyRef) -> Result<Incremented, StoreError> {
        self.store.increment_usage(pool, key).await
    }

    async fn increment_all(&self, pool: &Policy, keys: &[KeyRef]) -> Result<Vec<Option<Incremented>>, StoreError> {
        self.store.increment_all(pool, keys).await
    }

    async fn look_up(&self, pool: &Policy, key: &KeyRef) -> Result<Option<Seen<Key>>, StoreError> {
        self.store.look_up(pool, key).await
    }

    async fn report(&self, pool: &Policy, lease: &LeaseId, report: Report) -> Result<Option<Settled>, StoreError> {
        self.store.report(pool, lease, report).await
    }

    async fn report_used(&self, pool: &Policy, leases: &[LeaseId]) -> Result<Vec<Option<Settled>>, StoreError> {
        self.store.report_used(pool, leases).await
    }

    async fn renew(&self, pool: &Policy, lease: &LeaseId, ttl: Duration) -> Result<Option<Timestamp>, StoreError> {
        self.store.renew(pool, lease, ttl).await
    }

    async fn sweep(&self, pool: &Policy) -> Result<u64, StoreError> {
        self.store.sweep(pool).await
    }

    async fn take(&self, pool: &Policy, uses: u32) -> Result<Option<Taken>, StoreError> {
        self.store.take(pool, uses).await
    }

    async fn add(&self, pool: &Policy, keys: &[NewKey]) -> Result<AddedKeys, StoreError> {
        self.store.add(pool, keys).await
    }

    async fn bring(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<Brought>, StoreError> {
        self.store.bring(pool, keys).await
    }

    async fn withdraw(&self, pool: &Policy, ids: &[KeyId]) -> Result<u64, StoreError> {
        self.store.withdraw(pool, ids).await
    }

    async fn lock(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, StoreError> {
        self.store.lock(name, owner, lasts).await
    }

    async fn unlock(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        self.store.unlock(name, owner).await
    }

    async fn state_taken_over(&self, pool: &Policy) -> Result<bool, StoreError> {
        self.store.state_taken_over(pool).await
    }

    async fn record_state_taken_over(&self, pool: &Policy) -> Result<(), StoreError> {
        self.store.record_state_taken_over(pool).await
    }

    async fn known(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<bool>, StoreError> {
        self.store.known(pool, keys).await
    }

    async fn list(&self, pool: &Policy, page: Page) -> Result<Seen<Vec<KeyRecord>>, StoreError> {
        self.store.list(pool, page).await
    }

    async fn show(&self, pool: &Policy, id: KeyId) -> Result<Option<Seen<KeyRecord>>, StoreError> {
        self.store.show(pool, id).await
    }

    async fn change(&self, pool: &Policy, id: KeyId, change: &KeyChange) -> Result<Changed, StoreError> {
        self.store.change(pool, id, change).await
    }

    async fn judge(
        &self,
        pool: &Policy,
        id: KeyId,
        secret: &Secret,
        verdict: Verdict,
    ) -> Result<Option<Seen<KeyRecord>>, StoreError> {
        self.store.judge(pool, id, secret, verdict).await
    }

    async fn keep_anew(&self, pool: &Policy, id: KeyId, keeping: Keeping) -> Result<KeptAnew, StoreError> {
        self.store.keep_anew(pool, id, keeping).await
    }

    async fn request_key(&self, pool: &Policy, id: &RequestId, by: &str) -> Result<bool, StoreError> {
        self.store.request_key(pool, id, by).await
    }

    async fn key_requests(&self, pool: &Policy) -> Result<Vec<KeyRequest>, StoreError> {
        self.store.key_requests(pool).await
    }

    async fn close_key_requests(&self, pool: &Policy, ids: &[RequestId]) -> Result<u64, StoreError> {
        self.store.close_key_requests(pool, ids).await
    }

    async fn remove(&self, pool: &Policy, id: KeyId) -> Result<bool, StoreError> {
        self.store.remove(pool, id).await
    }

    async fn reset(&self, pool: &Policy, ids: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        self.store.reset(pool, ids).await
    }

    async fn find_lease(&self, pool: &Policy, lease: &LeaseId) -> Result<Option<OpenLease>, StoreError> {
        self.store.find_lease(pool, lease).await
    }

    async fn find_same(&self, pool: &Policy, request: &LeaseRequest) -> Result<Option<LeasedKey>, StoreError> {
        self.store.find_same(pool, request).await
    }

    async fn stats(&self, pool: &Policy, uses_per_key: u32) -> Result<PoolStats, StoreError> {
        self.store.stats(pool, uses_per_key).await
    }

    async fn record_policy(&self, pool: &Policy) -> Result<Option<String>, StoreError> {
        self.store.record_policy(pool).await
    }

    async fn examine(&self, pool: &Policy, listed: u32) -> Result<Examination, StoreError> {
        self.store.examine(pool, listed).await
    }

    async fn databases(&self) -> Result<Vec<DatabaseFound>, StoreError> {
        self.store.databases().await
    }
}
