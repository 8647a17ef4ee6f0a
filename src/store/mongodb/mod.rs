//! MongoDB: the store of production, shared by any number of instances.
//!
//! Each operation is one find-and-modify on the key's own document, its filter the whole rule, its update a
//! pipeline that reads the document it changes. Every expression is total: whatever another program wrote into a
//! field, it is judged, never an error. Text from outside enters a pipeline as a literal only.

mod add;
mod bring;
mod candidates;
mod change;
mod connect;
pub mod credits;
mod databases;
pub mod document;
mod duplicates;
pub mod error;
mod examine;
pub mod expression;
mod filter;
mod find_usable_key;
mod increment_usage;
mod index;
mod judge;
mod keep;
mod key_request;
mod known;
mod lease;
mod list;
mod lock;
mod look_up;
mod pick;
mod planner;
mod policy;
mod remove;
mod removed;
mod renew;
mod report;
mod reset;
mod settle;
mod show;
mod state_taken_over;
mod stats;
mod sweep;
mod take;
mod together;

use std::time::Duration;

use async_trait::async_trait;
use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Client, Collection, Database};
use tokio::sync::OnceCell;

use super::vault::Vault;
use super::{
    AddedKeys, Brought, Changed, DatabaseFound, Examination, FoundKey, Incremented, Keeping, KeptAnew, LeaseAnswer,
    LeaseRequest, LeasedKey, Page, Seen, Settled, Store, StoreError, Taken,
};
use crate::domain::{
    EntryId, Key, KeyChange, KeyId, KeyRecord, KeyRef, KeyRequest, LeaseId, NewKey, OpenLease, Policy, PoolStats,
    Report, RequestId, Secret, Timestamp, Verdict,
};

use self::connect::Connected;
use self::expression::Openable;

#[doc(hidden)]
pub use add::stored;
pub use connect::MongoUri;

/// The collection of what is not about one key: counters and the like.
const META: &str = "keylend_meta";

/// The store on MongoDB.
pub struct MongoStore {
    client: Client,
    database: Database,
    /// The longest that the server works on one command, so that none goes on long after its caller has left.
    time_limit: Duration,
    /// See [`Store::at_once`].
    at_once: usize,
    candidates: candidates::Candidates,
    vault: Vault,
    /// See [`MongoStore::merges`].
    merges: OnceCell<bool>,
}

impl MongoStore {
    /// Connects when it is first needed: a server that is away is no error here.
    ///
    /// `database` None = the one that the URI names, else `keylend`. `time_limit` bounds each command and the
    /// search for a server; `vault` is how secrets are kept.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where the URI cannot be understood.
    pub async fn connect(
        uri: &MongoUri,
        database: Option<&str>,
        time_limit: Duration,
        vault: Vault,
    ) -> Result<Self, StoreError> {
        let Connected { client, database, at_once } = connect::connect(uri, database, time_limit).await?;
        Ok(Self {
            client,
            database,
            time_limit,
            at_once,
            candidates: candidates::Candidates::default(),
            vault,
            merges: OnceCell::new(),
        })
    }

    /// The documents of a pool, for a program that rewrites them: as bytes, with the promises about writes and reads
    /// that keylend's own operations make.
    pub fn documents(&self, pool: &Policy) -> Collection<RawDocumentBuf> {
        self.keys(pool)
    }

    /// The name of another database of the server in which the pool's collection has documents, by a look that takes 2 s
    /// at most; None where none is found.
    pub async fn elsewhere(&self, pool: &Policy) -> Option<String> {
        databases::other_with(self, &pool.collection).await
    }

    /// The encrypted secrets that this instance can open.
    fn openable(&self) -> Openable<'_> {
        Openable::By(self.vault.names().collect())
    }

    /// The documents as bytes: what another program wrote into one field must not make the others unreadable.
    fn keys(&self, pool: &Policy) -> Collection<RawDocumentBuf> {
        self.database.collection(&pool.collection)
    }

    /// What is not about one key.
    fn meta(&self) -> Collection<RawDocumentBuf> {
        self.database.collection(META)
    }

    /// The server's clock. For what cannot use `$$NOW` itself.
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let hello = self.client.database("admin").run_command(doc! {"hello": 1}).await.map_err(error::of_read)?;
        match hello.get("localTime") {
            Some(Bson::DateTime(now)) => Ok(Timestamp::from_millis(now.timestamp_millis())),
            _ => Err(StoreError::Refused("the answer to hello has no localTime".into())),
        }
    }

    /// Changes the first document of `sort` that `filter` matches, in one step, and reads `projection` of it as it
    /// is afterwards.
    async fn change(
        &self,
        pool: &Policy,
        filter: Document,
        update: Vec<Document>,
        sort: Option<Document>,
        projection: Document,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        let keys = self.keys(pool);
        let changed = error::again_after_conflicts(|| async {
            let change = keys
                .find_one_and_update(filter.clone(), update.clone())
                .return_document(ReturnDocument::After)
                .projection(projection.clone())
                .max_time(self.time_limit);
            match &sort {
                Some(sort) => change.sort(sort.clone()).await,
                None => change.await,
            }
        })
        .await?;
        changed.map(document::lossy).transpose()
    }
}

#[async_trait]
impl Store for MongoStore {
    fn describe(&self) -> String {
        format!("MongoDB database {}", self.database.name())
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.database.run_command(doc! {"ping": 1}).await.map(|_| ()).map_err(error::of_read)
    }

    async fn prepare(&self, pool: &Policy) -> Result<Vec<String>, StoreError> {
        let mut notices = index::prepare(self, pool).await?;
        // By an index: without it, the look for encrypted keys would go over all documents.
        keep::prepare(self, pool).await?;
        notices.extend(databases::elsewhere(self, pool).await);
        Ok(notices)
    }

    async fn find_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<FoundKey>, StoreError> {
        find_usable_key::find_usable_key(self, pool, uses_per_key).await
    }

    async fn peek_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<Seen<Key>>, StoreError> {
        find_usable_key::peek_usable_key(self, pool, uses_per_key).await
    }

    async fn increment_usage(&self, pool: &Policy, key: &KeyRef) -> Result<Incremented, StoreError> {
        increment_usage::increment_usage(self, pool, key).await
    }

    async fn increment_all(&self, pool: &Policy, keys: &[KeyRef]) -> Result<Vec<Option<Incremented>>, StoreError> {
        increment_usage::increment_all(self, pool, keys).await
    }

    async fn look_up(&self, pool: &Policy, key: &KeyRef) -> Result<Option<Seen<Key>>, StoreError> {
        look_up::look_up(self, pool, key).await
    }

    async fn lease(&self, pool: &Policy, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError> {
        lease::lease(self, pool, request).await
    }

    async fn lease_all(&self, pool: &Policy, requests: &[LeaseRequest]) -> Result<Vec<LeaseAnswer>, StoreError> {
        together::lease_all(self, pool, requests).await
    }

    async fn find_all(&self, pool: &Policy, uses_per_key: u32, callers: usize) -> Result<Vec<FoundKey>, StoreError> {
        together::find_all(self, pool, uses_per_key, callers).await
    }

    async fn give_back(&self, pool: &Policy, request: &LeaseRequest) -> Result<bool, StoreError> {
        settle::give_back(self, pool, request).await
    }

    async fn report(&self, pool: &Policy, lease: &LeaseId, report: Report) -> Result<Option<Settled>, StoreError> {
        report::report(self, pool, lease, report).await
    }

    async fn report_used(&self, pool: &Policy, leases: &[LeaseId]) -> Result<Vec<Option<Settled>>, StoreError> {
        report::report_used(self, pool, leases).await
    }

    async fn renew(&self, pool: &Policy, lease: &LeaseId, ttl: Duration) -> Result<Option<Timestamp>, StoreError> {
        renew::renew(self, pool, lease, ttl).await
    }

    async fn sweep(&self, pool: &Policy) -> Result<u64, StoreError> {
        sweep::sweep(self, pool).await
    }

    async fn take(&self, pool: &Policy, uses: u32) -> Result<Option<Taken>, StoreError> {
        take::take(self, pool, uses).await
    }

    async fn add(&self, pool: &Policy, keys: &[NewKey]) -> Result<AddedKeys, StoreError> {
        add::add(self, pool, keys).await
    }

    async fn bring(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<Brought>, StoreError> {
        bring::bring(self, pool, keys).await
    }

    async fn withdraw(&self, pool: &Policy, ids: &[KeyId]) -> Result<u64, StoreError> {
        bring::withdraw(self, pool, ids).await
    }

    async fn lock(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, StoreError> {
        lock::lock(self, name, owner, lasts).await
    }

    async fn unlock(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        lock::unlock(self, name, owner).await
    }

    async fn state_taken_over(&self, pool: &Policy) -> Result<bool, StoreError> {
        state_taken_over::is_recorded(self, pool).await
    }

    async fn record_state_taken_over(&self, pool: &Policy) -> Result<(), StoreError> {
        state_taken_over::record(self, pool).await
    }

    async fn known(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<bool>, StoreError> {
        known::known(self, pool, keys).await
    }

    async fn list(&self, pool: &Policy, page: Page) -> Result<Seen<Vec<KeyRecord>>, StoreError> {
        list::list(self, pool, page).await
    }

    async fn show(&self, pool: &Policy, id: KeyId) -> Result<Option<Seen<KeyRecord>>, StoreError> {
        show::show(self, pool, id).await
    }

    async fn change(&self, pool: &Policy, id: KeyId, change: &KeyChange) -> Result<Changed, StoreError> {
        change::change(self, pool, id, change).await
    }

    async fn judge(
        &self,
        pool: &Policy,
        id: KeyId,
        secret: &Secret,
        verdict: Verdict,
    ) -> Result<Option<Seen<KeyRecord>>, StoreError> {
        judge::judge(self, pool, id, secret, verdict).await
    }

    async fn keep_anew(&self, pool: &Policy, id: KeyId, keeping: Keeping) -> Result<KeptAnew, StoreError> {
        keep::keep_anew(self, pool, id, keeping).await
    }

    async fn request_key(&self, pool: &Policy, id: &RequestId, by: &str) -> Result<bool, StoreError> {
        key_request::request(self, pool, id, by).await
    }

    async fn key_requests(&self, pool: &Policy) -> Result<Vec<KeyRequest>, StoreError> {
        key_request::list(self, pool).await
    }

    async fn close_key_requests(&self, pool: &Policy, ids: &[RequestId]) -> Result<u64, StoreError> {
        key_request::close(self, pool, ids).await
    }

    async fn remove(&self, pool: &Policy, id: KeyId) -> Result<bool, StoreError> {
        remove::remove(self, pool, id).await
    }

    async fn reset(&self, pool: &Policy, ids: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        reset::reset(self, pool, ids).await
    }

    async fn find_lease(&self, pool: &Policy, lease: &LeaseId) -> Result<Option<OpenLease>, StoreError> {
        show::find_lease(self, pool, lease).await
    }

    async fn find_same(&self, pool: &Policy, request: &LeaseRequest) -> Result<Option<LeasedKey>, StoreError> {
        match lease::same_request(self, pool, request).await? {
            Some(LeaseAnswer::Same(same)) => Ok(Some(same)),
            Some(LeaseAnswer::SameUnreadable) => Err(StoreError::same_unreadable()),
            Some(LeaseAnswer::New(_) | LeaseAnswer::NoUsableKey) | None => Ok(None),
        }
    }

    async fn stats(&self, pool: &Policy, uses_per_key: u32) -> Result<PoolStats, StoreError> {
        stats::stats(self, pool, uses_per_key).await
    }

    async fn record_policy(&self, pool: &Policy) -> Result<Option<String>, StoreError> {
        policy::record(self, pool).await
    }

    async fn examine(&self, pool: &Policy, listed: u32) -> Result<Examination, StoreError> {
        examine::examine(self, pool, listed).await
    }

    async fn databases(&self) -> Result<Vec<DatabaseFound>, StoreError> {
        databases::databases(self).await
    }
}
