//! The embedded store: one SQLite file, the same model in tables, the same answers as MongoDB.
//!
//! Every write is one immediate transaction, and every instant is read inside it, so that several processes on one
//! machine can share the file and stay exact. Nothing is cached that another process could make wrong.

mod add;
mod backup;
mod bring;
mod busy;
mod change;
mod examine;
mod find_usable_key;
mod increment_usage;
mod judge;
mod keep;
mod key_request;
mod known;
mod lease;
mod list;
mod lock;
mod look_up;
mod pick;
mod policy;
mod remove;
mod removed;
mod report;
mod reset;
mod row;
mod schema;
mod settle;
mod show;
mod state_taken_over;
mod stats;
mod sweep;
mod take;
mod wipe;
mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Transaction;

pub use self::backup::back_up;
use self::schema::OpenError;
pub use self::wipe::wipe;
use self::worker::Worker;
use super::vault::Vault;
use super::{
    AddedKeys, Brought, Changed, DatabaseFound, Examination, FoundKey, Incremented, Keeping, KeptAnew, LeaseAnswer,
    LeaseRequest, LeasedKey, Page, Seen, Settled, Store, StoreError, Taken,
};
use crate::domain::{
    EntryId, Key, KeyChange, KeyId, KeyRecord, KeyRef, KeyRequest, LeaseId, NewKey, OpenLease, Policy, PoolStats,
    Report, RequestId, Secret, Timestamp, Verdict,
};

/// The embedded store in one file.
pub struct SqliteStore {
    path: PathBuf,
    writer: Worker,
    /// For what reads a few rows, so that it does not wait for what reads many.
    reader: Worker,
    /// For what goes over a whole pool.
    lister: Worker,
}

impl SqliteStore {
    /// Opens the file, or makes it where there is none. `patience` is how long a write waits for other processes; `vault`
    /// how secrets are kept.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a file that is damaged or another program's: it is left as it is.
    pub async fn open(path: &Path, patience: Duration, vault: Vault) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let file = path.clone();
        tokio::task::spawn_blocking(move || {
            let (writing, reading) = (schema::open(&file, patience)?, schema::open(&file, patience)?);
            let listing = schema::open(&file, patience)?;
            // Its thread waits for other processes itself.
            writing.busy_timeout(Duration::ZERO)?;
            let writer =
                Worker::start("keylend-writer", writing, &file, patience, vault.clone()).map_err(OpenError::Thread)?;
            let reader =
                Worker::start("keylend-reader", reading, &file, patience, vault.clone()).map_err(OpenError::Thread)?;
            let lister =
                Worker::start("keylend-lister", listing, &file, patience, vault.clone()).map_err(OpenError::Thread)?;
            Ok(Self { path: file, writer, reader, lister })
        })
        .await
        .map_err(|error| StoreError::Refused(Box::new(error)))?
        .map_err(|error| schema::explain(error, &path))
    }

    async fn write<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(step).await
    }

    async fn go_over<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.lister.read(step).await
    }

    async fn read<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reader.read(step).await
    }
}

/// One transaction, the instant at which it happens, and how secrets are kept.
struct Step<'a> {
    tx: Transaction<'a>,
    now: Timestamp,
    vault: &'a Vault,
}

#[async_trait]
impl Store for SqliteStore {
    fn describe(&self) -> String {
        format!("SQLite file {}", self.path.display())
    }

    fn at_once(&self) -> usize {
        worker::QUEUE
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|step| step.tx.query_row("SELECT count(*) FROM keylend_meta", [], |_| Ok(()))).await
    }

    async fn prepare(&self, pool: &Policy) -> Result<Vec<String>, StoreError> {
        let pool = pool.clone();
        self.write(move |step| schema::prepare(step, &pool)).await?.map_err(StoreError::Unusable)?;
        Ok(Vec::new())
    }

    async fn find_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<FoundKey>, StoreError> {
        let pool = pool.clone();
        self.write(move |step| find_usable_key::find_usable_key(step, &pool, uses_per_key)).await
    }

    async fn peek_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<Seen<Key>>, StoreError> {
        let pool = pool.clone();
        // One whose secret cannot be read is given up on the way.
        self.write(move |step| find_usable_key::peek_usable_key(step, &pool, uses_per_key)).await
    }

    async fn increment_usage(&self, pool: &Policy, key: &KeyRef) -> Result<Incremented, StoreError> {
        let (pool, key) = (pool.clone(), key.clone());
        self.write(move |step| increment_usage::increment_usage(step, &pool, &key)).await
    }

    async fn increment_all(&self, pool: &Policy, keys: &[KeyRef]) -> Result<Vec<Option<Incremented>>, StoreError> {
        let (pool, keys) = (pool.clone(), keys.to_vec());
        let counted = move |step: &Step<'_>| {
            keys.iter().map(|key| increment_usage::increment_usage(step, &pool, key).map(Some)).collect()
        };
        self.write(counted).await
    }

    async fn look_up(&self, pool: &Policy, key: &KeyRef) -> Result<Option<Seen<Key>>, StoreError> {
        let (pool, key) = (pool.clone(), key.clone());
        self.read(move |step| look_up::look_up(step, &pool, &key)).await
    }

    async fn lease(&self, pool: &Policy, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError> {
        let (pool, request) = (pool.clone(), request.clone());
        self.write(move |step| lease::lease(step, &pool, &request)).await
    }

    async fn lease_all(&self, pool: &Policy, requests: &[LeaseRequest]) -> Result<Vec<LeaseAnswer>, StoreError> {
        let (pool, requests) = (pool.clone(), requests.to_vec());
        self.write(move |step| lease::lease_all(step, &pool, &requests)).await
    }

    async fn find_all(&self, pool: &Policy, uses_per_key: u32, callers: usize) -> Result<Vec<FoundKey>, StoreError> {
        let pool = pool.clone();
        self.write(move |step| find_usable_key::find_all(step, &pool, uses_per_key, callers)).await
    }

    async fn give_back(&self, pool: &Policy, request: &LeaseRequest) -> Result<bool, StoreError> {
        let (pool, request) = (pool.clone(), request.clone());
        self.write(move |step| settle::give_back(step, &pool, &request)).await
    }

    async fn report(&self, pool: &Policy, lease: &LeaseId, report: Report) -> Result<Option<Settled>, StoreError> {
        let (pool, lease) = (pool.clone(), lease.clone());
        self.write(move |step| report::report(step, &pool, &lease, report)).await
    }

    async fn report_used(&self, pool: &Policy, leases: &[LeaseId]) -> Result<Vec<Option<Settled>>, StoreError> {
        let (pool, leases) = (pool.clone(), leases.to_vec());
        self.write(move |step| leases.iter().map(|lease| report::report(step, &pool, lease, Report::USED)).collect())
            .await
    }

    async fn renew(&self, pool: &Policy, lease: &LeaseId, ttl: Duration) -> Result<Option<Timestamp>, StoreError> {
        let (pool, lease) = (pool.clone(), lease.clone());
        self.write(move |step| lease::renew(step, &pool, &lease, ttl)).await
    }

    async fn sweep(&self, pool: &Policy) -> Result<u64, StoreError> {
        let pool = pool.clone();
        self.write(move |step| sweep::sweep(step, &pool)).await
    }

    async fn take(&self, pool: &Policy, uses: u32) -> Result<Option<Taken>, StoreError> {
        let pool = pool.clone();
        self.write(move |step| take::take(step, &pool, uses)).await
    }

    async fn add(&self, pool: &Policy, keys: &[NewKey]) -> Result<AddedKeys, StoreError> {
        let (pool, keys) = (pool.clone(), keys.to_vec());
        self.write(move |step| add::add(step, &pool, &keys)).await
    }

    async fn bring(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<Brought>, StoreError> {
        let (pool, keys) = (pool.clone(), keys.to_vec());
        self.write(move |step| bring::bring(step, &pool, &keys)).await
    }

    async fn withdraw(&self, pool: &Policy, ids: &[KeyId]) -> Result<u64, StoreError> {
        let (pool, ids) = (pool.clone(), ids.to_vec());
        self.write(move |step| bring::withdraw(step, &pool, &ids)).await
    }

    async fn lock(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, StoreError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.write(move |step| lock::lock(step, &name, &owner, lasts)).await
    }

    async fn unlock(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.write(move |step| lock::unlock(step, &name, &owner)).await
    }

    async fn state_taken_over(&self, pool: &Policy) -> Result<bool, StoreError> {
        let pool = pool.clone();
        self.read(move |step| state_taken_over::is_recorded(step, &pool)).await
    }

    async fn record_state_taken_over(&self, pool: &Policy) -> Result<(), StoreError> {
        let pool = pool.clone();
        self.write(move |step| state_taken_over::record(step, &pool)).await
    }

    async fn known(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<bool>, StoreError> {
        let (pool, keys) = (pool.clone(), keys.to_vec());
        self.go_over(move |step| known::known(step, &pool, &keys)).await
    }

    async fn list(&self, pool: &Policy, page: Page) -> Result<Seen<Vec<KeyRecord>>, StoreError> {
        let pool = pool.clone();
        self.go_over(move |step| list::list(step, &pool, page)).await
    }

    async fn show(&self, pool: &Policy, id: KeyId) -> Result<Option<Seen<KeyRecord>>, StoreError> {
        let pool = pool.clone();
        self.read(move |step| show::show(step, &pool, id)).await
    }

    async fn change(&self, pool: &Policy, id: KeyId, change: &KeyChange) -> Result<Changed, StoreError> {
        let (pool, change) = (pool.clone(), change.clone());
        self.write(move |step| change::change(step, &pool, id, &change)).await
    }

    async fn judge(
        &self,
        pool: &Policy,
        id: KeyId,
        secret: &Secret,
        verdict: Verdict,
    ) -> Result<Option<Seen<KeyRecord>>, StoreError> {
        let (pool, secret) = (pool.clone(), secret.clone());
        self.write(move |step| judge::judge(step, &pool, id, &secret, verdict)).await
    }

    async fn keep_anew(&self, pool: &Policy, id: KeyId, keeping: Keeping) -> Result<KeptAnew, StoreError> {
        let pool = pool.clone();
        self.write(move |step| keep::keep_anew(step, &pool, id, keeping)).await
    }

    async fn request_key(&self, pool: &Policy, id: &RequestId, by: &str) -> Result<bool, StoreError> {
        let (pool, id, by) = (pool.clone(), id.clone(), by.to_owned());
        self.write(move |step| key_request::request(step, &pool, &id, &by)).await
    }

    async fn key_requests(&self, pool: &Policy) -> Result<Vec<KeyRequest>, StoreError> {
        let pool = pool.clone();
        self.read(move |step| key_request::list(step, &pool)).await
    }

    async fn close_key_requests(&self, pool: &Policy, ids: &[RequestId]) -> Result<u64, StoreError> {
        let (pool, ids) = (pool.clone(), ids.to_vec());
        self.write(move |step| key_request::close(step, &pool, &ids)).await
    }

    async fn remove(&self, pool: &Policy, id: KeyId) -> Result<bool, StoreError> {
        let pool = pool.clone();
        self.write(move |step| remove::remove(step, &pool, id)).await
    }

    async fn reset(&self, pool: &Policy, ids: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        let (pool, ids) = (pool.clone(), ids.to_vec());
        self.write(move |step| reset::reset(step, &pool, &ids)).await
    }

    async fn find_lease(&self, pool: &Policy, lease: &LeaseId) -> Result<Option<OpenLease>, StoreError> {
        let (pool, lease) = (pool.clone(), lease.clone());
        self.read(move |step| show::find_lease(step, &pool, &lease)).await
    }

    async fn find_same(&self, pool: &Policy, request: &LeaseRequest) -> Result<Option<LeasedKey>, StoreError> {
        let (pool, request) = (pool.clone(), request.clone());
        let same = self.write(move |step| lease::find_same(step, &pool, &request)).await?;
        same.map(|same| same.ok_or_else(StoreError::same_unreadable)).transpose()
    }

    async fn stats(&self, pool: &Policy, uses_per_key: u32) -> Result<PoolStats, StoreError> {
        let pool = pool.clone();
        self.read(move |step| stats::stats(step, &pool, uses_per_key)).await
    }

    async fn record_policy(&self, pool: &Policy) -> Result<Option<String>, StoreError> {
        let pool = pool.clone();
        self.write(move |step| policy::record(step, &pool)).await
    }

    async fn examine(&self, pool: &Policy, listed: u32) -> Result<Examination, StoreError> {
        let pool = pool.clone();
        self.go_over(move |step| examine::examine(step, &pool, listed)).await
    }

    async fn databases(&self) -> Result<Vec<DatabaseFound>, StoreError> {
        Ok(Vec::new())
    }
}
