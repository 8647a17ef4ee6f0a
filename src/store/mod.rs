//! Where keys live: one trait, two adapters, the same answers.
//!
//! Each method is one atomic step of the store: what it checks and what it changes cannot come apart,
//! however many instances share the store. "Nothing matched" is an answer, not an error. The conformance suite
//! (`tests/conformance/`) holds both adapters to what is written here.

pub mod error;
pub mod mongodb;
mod planted;
mod recorded;
mod removed;
pub mod sqlite;
pub mod vault;

use std::time::Duration;

use async_trait::async_trait;

pub use error::StoreError;

use self::vault::{Kept, NotOpened, Vault};
use crate::domain::{
    EntryId, IdempotencyDigest, Key, KeyChange, KeyId, KeyRecord, KeyRef, KeyRequest, LeaseId, NewKey, OpenLease,
    Place, Policy, PoolStats, Report, RequestId, Secret, State, Timestamp, UsageCount, Verdict,
};

/// A key that `find_usable_key` chose.
#[derive(Clone, Debug)]
pub struct FoundKey {
    /// Its id.
    pub id: KeyId,
    /// Its secret.
    pub secret: Secret,
    /// Uses counted so far.
    pub usage_count: u64,
    /// The stamp of this hand-out.
    pub last_used: Timestamp,
}

/// What a lease is asked with. The id is made by the caller, so that a lease whose answer was lost can be found.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The lease's id within the key it will get.
    pub entry: EntryId,
    /// How long it lasts.
    pub ttl: Duration,
    /// The name of the token that asks; empty where tokens are not in use.
    pub by: String,
    /// What makes a repeated request the same; [`IdempotencyDigest::none`] without an Idempotency-Key.
    pub idem: IdempotencyDigest,
}

impl LeaseRequest {
    /// Whether it came with an Idempotency-Key, and so may have been asked before.
    pub fn is_repeatable(&self) -> bool {
        self.idem != IdempotencyDigest::none(self.entry)
    }
}

/// A key on lease.
#[derive(Clone, Debug)]
pub struct LeasedKey {
    /// The lease within the key: the one asked for, or that of the earlier request it repeats.
    pub entry: EntryId,
    /// The key.
    pub id: KeyId,
    /// Its secret.
    pub secret: Secret,
    /// Uses counted so far, without this lease.
    pub usage_count: u64,
    /// When the lease lapses.
    pub expires_at: Timestamp,
}

/// The answer to a lease.
#[derive(Clone, Debug)]
pub enum LeaseAnswer {
    /// A use of this key was reserved.
    New(LeasedKey),
    /// The same request was answered before and its lease is open: this is that lease.
    Same(LeasedKey),
    /// The same request was answered before and its lease is open, on a key whose secret cannot be read here. It stays:
    /// who asked first has it.
    SameUnreadable,
    /// No key of the pool was usable.
    NoUsableKey,
}

/// Keys taken: counted in the same step, without a lease.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The key.
    pub id: KeyId,
    /// Its secret.
    pub secret: Secret,
    /// Uses counted, with these.
    pub usage_count: u64,
    /// How many uses were taken: 1 up to the number asked for.
    pub uses: u32,
}

/// The answer to an increment.
#[derive(Clone, Debug, PartialEq)]
pub enum Incremented {
    /// One use more is counted.
    Counted {
        /// The key.
        id: KeyId,
        /// The count afterwards; other programs may have left a fraction in it.
        usage_count: UsageCount,
        /// The stamp of this count.
        last_used: Timestamp,
    },
    /// There is no such key.
    UnknownKey,
    /// The stored count is no number that can be counted on; nothing was changed.
    InvalidKey,
}

/// The key of a settled lease, as it is afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The key.
    pub id: KeyId,
    /// The count afterwards.
    pub usage_count: UsageCount,
    /// The state afterwards.
    pub state: State,
}

/// Keys as they are stored, with the instant to judge them by.
#[derive(Clone, Debug)]
pub struct Seen<T> {
    /// What was read.
    pub value: T,
    /// The store's clock when it was read.
    pub now: Timestamp,
}

/// What became of one key that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// A new key with this id.
    New(KeyId),
    /// The pool has its secret or its id already, or had it earlier in the same call. It was left as it is.
    Known,
}

/// What became of the keys that were added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedKeys {
    /// One verdict per key, in the same order.
    pub verdicts: Vec<Added>,
    /// False where nothing in the store keeps a secret unique, for older duplicates are in the way: a twin was looked
    /// for before, but another program could have added one at the same moment.
    pub race_proof: bool,
}

/// What became of one key of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// A new key with this id.
    New(KeyId),
    /// The pool has it; from here on it is the file's, active again where it was withdrawn with its line.
    Known,
    /// An operator took it out of the pool: left out, although the file still has it.
    Removed,
}

/// Which part of a pool's keys is read.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Goes on after this place; None = from the first.
    pub after: Option<Place>,
    /// At most so many keys.
    pub limit: u32,
    /// Only keys in this state; None = all.
    pub state: Option<State>,
}

/// What became of a key that an operator changed.
#[derive(Clone, Debug)]
pub enum Changed {
    /// It was changed; this is the key afterwards.
    Changed(Box<Seen<KeyRecord>>),
    /// There is no such key.
    UnknownKey,
    /// Another key of the pool has the new secret; nothing was changed.
    KnownSecret,
}

/// How an operator wants the secret of a key kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Encrypted, by the first of the vault's keys.
    Encrypted,
    /// As it is.
    Plain,
}

impl Keeping {
    /// The secret kept this way. None = it is already. `by`: the name of the key that it is encrypted with now. One that was
    /// given up, and opens after all, is kept anew in any case.
    fn of(
        self,
        vault: &Vault,
        pool: &Policy,
        id: KeyId,
        secret: &Secret,
        by: Option<&str>,
        is_given_up: bool,
    ) -> Option<Kept> {
        let is_so = match self {
            Self::Encrypted => by.is_some() && by == vault.names().next(),
            Self::Plain => by.is_none(),
        };
        match self {
            _ if is_so && !is_given_up => None,
            Self::Encrypted => vault.seal(pool, id, secret),
            Self::Plain => Some(vault.plain(secret)),
        }
    }
}

/// What became of a key whose secret was to be kept in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptAnew {
    /// It is kept so now.
    Changed,
    /// It was kept so already.
    AsItWas,
    /// Another key of the pool has the same secret: nothing was changed.
    Twin,
    /// It has no secret that can be read: nothing was changed.
    NotOpened(NotOpened),
    /// There is no such key.
    UnknownKey,
}

/// A document or row that cannot be understood as a key, for the person who must see to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKey {
    /// What names it: its id, or a description of an id of another type.
    pub id: String,
    /// What is wrong with it, without its values: `api_key is missing`, `usage_count is text`, ..
    pub reasons: Vec<String>,
}

/// What a pool's collection or table holds, as `keylend check` tells it. Nothing is changed for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// Whether the collection or table is there.
    pub exists: bool,
    /// All documents or rows.
    pub documents: u64,
    /// Documents that still hold credits, with or without a count.
    pub with_credits: u64,
    /// Of those, the ones without a count: not lent before they are migrated.
    pub needs_migration: u64,
    /// What is wrong with this instance's keys for secrets, one sentence each.
    pub wrong_keys: Vec<String>,
    /// Keys whose secrets are encrypted, by the name of the key that they are encrypted with.
    pub encrypted: Vec<(String, u64)>,
    /// Documents that cannot be understood as keys.
    pub invalid: u64,
    /// The first of them.
    pub invalid_keys: Vec<InvalidKey>,
    /// Secrets that more than one document holds.
    pub duplicates: u64,
    /// The ids that share one secret, for the first of them.
    pub duplicate_ids: Vec<Vec<String>>,
    /// keylend's indexes that are not there (yet).
    pub missing_indexes: Vec<String>,
}

/// A database that the store can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseFound {
    /// Its name.
    pub name: String,
    /// Whether it is the one in use.
    pub in_use: bool,
    /// Its collections with about how many documents each holds.
    pub collections: Vec<(String, u64)>,
}

/// A store of keys.
///
/// # Errors
/// Every method answers [`StoreError`] where the store could not do it; the variants tell whether something may
/// have been changed all the same.
#[async_trait]
pub trait Store: Send + Sync {
    /// What and where the store is, for people; without credentials.
    fn describe(&self) -> String;

    /// How many operations it does at once. Those beyond wait before they are asked of it, where a caller who gives
    /// up leaves nothing behind.
    fn at_once(&self) -> usize;

    /// Asks the store for an answer, as it must give one to lend.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Makes what the pool needs and does not have yet: collection or table, and indexes. Repeatable.
    /// Answers with what an operator should know, one sentence each. [`StoreError::Unusable`] where the keys for secrets
    /// are other ones than the store knows by their names.
    async fn prepare(&self, pool: &Policy) -> Result<Vec<String>, StoreError>;

    /// The key to use next, stamped as used, neither reserved nor counted. Takes keys with
    /// `usage_count + open leases < uses_per_key`. None = no key is usable.
    async fn find_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<FoundKey>, StoreError>;

    /// The key that `find_usable_key` would choose, left as it is.
    async fn peek_usable_key(&self, pool: &Policy, uses_per_key: u32) -> Result<Option<Seen<Key>>, StoreError>;

    /// Counts one use of a key, whatever its state, for the use has happened. Not deduplicated.
    async fn increment_usage(&self, pool: &Policy, key: &KeyRef) -> Result<Incremented, StoreError>;

    /// Counts one use for each of these, in a step for all of them; a key that is named twice is counted twice, and both
    /// are answered with the count afterwards. One answer per key, in their order; None = nothing was done for this one,
    /// which must be counted alone. An error is about all of them.
    async fn increment_all(&self, pool: &Policy, keys: &[KeyRef]) -> Result<Vec<Option<Incremented>>, StoreError>;

    /// Reads one key; None = there is no such key. Changes nothing.
    async fn look_up(&self, pool: &Policy, key: &KeyRef) -> Result<Option<Seen<Key>>, StoreError>;

    /// Picks a usable key, checks its limit and reserves one use of it, or finds the open lease of the same
    /// request.
    async fn lease(&self, pool: &Policy, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError>;

    /// Reserves one use for each of these requests, in a step for all of them, or finds the open lease of the same
    /// request. One answer per request, in their order; where one got no key and another one did, another look may find
    /// it one, or the lease of its twin. An error is about all of them.
    async fn lease_all(&self, pool: &Policy, requests: &[LeaseRequest]) -> Result<Vec<LeaseAnswer>, StoreError>;

    /// The keys to use next, for so many callers, as `find_usable_key` finds one: up to one for each. None at all = no
    /// key is usable.
    async fn find_all(&self, pool: &Policy, uses_per_key: u32, callers: usize) -> Result<Vec<FoundKey>, StoreError>;

    /// Ends a lease that could not be answered, as unused. False = it is not there: never made, settled, or lapsed;
    /// or the same request was repeated and answered with it, and so it has a holder. Finds it by the request alone,
    /// for its key may not be known.
    async fn give_back(&self, pool: &Policy, request: &LeaseRequest) -> Result<bool, StoreError>;

    /// Ends a lease with its effect. None = it is gone: settled or lapsed; nothing was changed.
    async fn report(&self, pool: &Policy, lease: &LeaseId, report: Report) -> Result<Option<Settled>, StoreError>;

    /// Ends these leases as used, each another one, in a step for all of them. One answer per lease, in their order, as
    /// [`Store::report`] gives it for one. An error is about all of them.
    async fn report_used(&self, pool: &Policy, leases: &[LeaseId]) -> Result<Vec<Option<Settled>>, StoreError>;

    /// Lets a lease last `ttl` from now, never shorter than it would have. None = it is gone.
    async fn renew(&self, pool: &Policy, lease: &LeaseId, ttl: Duration) -> Result<Option<Timestamp>, StoreError>;

    /// Settles the lapsed leases of the pool, as its policy says. Answers how many there were.
    async fn sweep(&self, pool: &Policy) -> Result<u64, StoreError>;

    /// Picks a usable key and counts up to `uses` uses of it, as many as are left. None = no key is usable.
    async fn take(&self, pool: &Policy, uses: u32) -> Result<Option<Taken>, StoreError>;

    /// Adds keys, in this order, also those that were removed before.
    async fn add(&self, pool: &Policy, keys: &[NewKey]) -> Result<AddedKeys, StoreError>;

    /// Adds the keys of the pool's key file, in this order, and makes those that the pool has already the file's. One
    /// that was withdrawn is active again. A count that is given is taken by a key that is new, or was never used and is
    /// not the file's yet: repeated, it is not taken twice. Answers one verdict per key.
    async fn bring(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<Brought>, StoreError>;

    /// Disables those of these keys that are the file's and active, for their lines are gone. Answers how many.
    async fn withdraw(&self, pool: &Policy, ids: &[KeyId]) -> Result<u64, StoreError>;

    /// Takes a lock of this name for so long from now, or lets it last so long where this owner has it already.
    /// False = another one has it, and it has not ended.
    async fn lock(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, StoreError>;

    /// Ends the lock, where this owner has it.
    async fn unlock(&self, name: &str, owner: &str) -> Result<(), StoreError>;

    /// Whether it is recorded that the older server's state was taken over into this pool.
    async fn state_taken_over(&self, pool: &Policy) -> Result<bool, StoreError>;

    /// Records that it was.
    async fn record_state_taken_over(&self, pool: &Policy) -> Result<(), StoreError>;

    /// Which of these keys the pool has already, by secret or id: one answer per key. Changes nothing.
    async fn known(&self, pool: &Policy, keys: &[NewKey]) -> Result<Vec<bool>, StoreError>;

    /// Reads a part of the pool's keys, in the order of their places.
    async fn list(&self, pool: &Policy, page: Page) -> Result<Seen<Vec<KeyRecord>>, StoreError>;

    /// Reads one key with all that is stored of it; None = there is no such key.
    async fn show(&self, pool: &Policy, id: KeyId) -> Result<Option<Seen<KeyRecord>>, StoreError>;

    /// Changes one key as an operator wants it. Where it was the file's and gets another secret, the file does not
    /// bring the old one back.
    async fn change(&self, pool: &Policy, id: KeyId, change: &KeyChange) -> Result<Changed, StoreError>;

    /// Applies what the provider said of a key to it, as long as it has this secret. Answers the key afterwards; None =
    /// there is no such key, or it has another secret by now: nothing was changed.
    async fn judge(
        &self,
        pool: &Policy,
        id: KeyId,
        secret: &Secret,
        verdict: Verdict,
    ) -> Result<Option<Seen<KeyRecord>>, StoreError>;

    /// Keeps the secret of this key in another way, and changes nothing else of it: leases, counts and states stay.
    async fn keep_anew(&self, pool: &Policy, id: KeyId, keeping: Keeping) -> Result<KeptAnew, StoreError>;

    /// Opens a request for a key. False = one of this id is open already: it stays as it is.
    async fn request_key(&self, pool: &Policy, id: &RequestId, by: &str) -> Result<bool, StoreError>;

    /// The open requests for keys, the oldest first.
    async fn key_requests(&self, pool: &Policy) -> Result<Vec<KeyRequest>, StoreError>;

    /// Closes these requests. Answers how many of them were open: each is closed once.
    async fn close_key_requests(&self, pool: &Policy, ids: &[RequestId]) -> Result<u64, StoreError>;

    /// Takes a key out of the pool, its leases with it; where it was the file's, the file does not bring it back.
    /// False = there is no such key.
    async fn remove(&self, pool: &Policy, id: KeyId) -> Result<bool, StoreError>;

    /// Sets the counts of these keys to 0, whatever they were, and stamps them. Answers those that are there.
    /// Their open leases stay.
    async fn reset(&self, pool: &Policy, ids: &[KeyId]) -> Result<Vec<KeyId>, StoreError>;

    /// Reads an open lease that has not lapsed; None = it is gone.
    async fn find_lease(&self, pool: &Policy, lease: &LeaseId) -> Result<Option<OpenLease>, StoreError>;

    /// The open lease that the same request got before, from here on the lease of both; None = there is none.
    async fn find_same(&self, pool: &Policy, request: &LeaseRequest) -> Result<Option<LeasedKey>, StoreError>;

    /// Counts the pool, its keys giving `uses_per_key` uses each.
    async fn stats(&self, pool: &Policy, uses_per_key: u32) -> Result<PoolStats, StoreError>;

    /// Records the pool's policy as the one that instances lend by. Where another one was recorded before, answers
    /// what an operator should know: both, in one sentence.
    async fn record_policy(&self, pool: &Policy) -> Result<Option<String>, StoreError>;

    /// What the pool's collection or table holds; of invalid documents and of duplicates the first `listed`. Changes
    /// nothing, makes nothing.
    async fn examine(&self, pool: &Policy, listed: u32) -> Result<Examination, StoreError>;

    /// The databases that can be seen, the one in use among them; for the embedded store none.
    async fn databases(&self) -> Result<Vec<DatabaseFound>, StoreError>;
}
