//! The pool as its callers see it: lending over a store, with a limit on every wait.

mod desk;
mod error;
mod events;
pub mod export;
mod files;
mod find;
mod generate;
mod history;
pub mod import;
mod increment;
mod lend;
mod low_water;
mod measured;
mod outage;
mod report;
mod stats;
mod sweep;
mod take;
mod verify;
mod wait;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::PoolError;
pub use files::ComingKeys;
pub use generate::Generated;
pub use history::{MINUTES, Moved};
pub use increment::Counted;
pub use lend::{Ask, Lent};
pub use low_water::keep_above_low_water;
pub use measured::{Lately, clock, measure_all};
pub use sweep::sweep_until;
pub use verify::{Verification, verify_until};
pub use wait::WAITERS;
pub use walk::Walk;

use crate::domain::{
    Key, KeyChange, KeyId, KeyRecord, KeyRef, LeaseId, NewKey, OpenLease, Policy, PoolStats, Timestamp, Transition,
};
use crate::metrics::{Metrics, PoolMetrics, StoreMetrics};
use crate::store::{AddedKeys, Changed, DatabaseFound, Examination, Keeping, KeptAnew, Page, Seen, Store, StoreError};

/// The longest that the preparation of one pool takes before it is tried anew: indexes of a large collection need
/// their time, and the server goes on with them.
const PREPARING: Duration = Duration::from_secs(60);

/// The longest that looking through a whole pool takes.
const EXAMINING: Duration = Duration::from_secs(300);

/// How long what is ended at the last moment has to clear up.
const LAST_STEP: Duration = Duration::from_millis(200);

/// How many keys are reset in one step.
const RESET_AT_ONCE: u32 = 1000;

/// How callers are served.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// The longest that a caller waits for the store.
    pub time_limit: Duration,
    /// Whether callers who come while others are served go to the store together.
    pub combine: bool,
}

impl From<Duration> for Serving {
    /// Combined, with this time limit.
    fn from(time_limit: Duration) -> Self {
        Self { time_limit, combine: true }
    }
}

/// Who has a lock: by chance, so that no two that ask are the same.
fn lock_owner() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// All pools over one store. A cheap handle.
#[derive(Clone)]
pub struct Pools {
    pools: Arc<[Pool]>,
    store: Arc<dyn Store>,
    settling: TaskTracker,
    /// Cancelled when the process ends, whatever is not settled yet.
    ending: CancellationToken,
    waiting_room: wait::WaitingRoom,
    outage: outage::Outage,
    metrics: Arc<Metrics>,
    /// It was tried to prepare each pool.
    tried: Arc<AtomicBool>,
}

impl Pools {
    /// The pools of these policies. Nothing is lent before [`Pools::prepare`] was successful once.
    pub fn new(store: Arc<dyn Store>, policies: impl IntoIterator<Item = Policy>, serving: impl Into<Serving>) -> Self {
        let Serving { time_limit, combine } = serving.into();
        let settling = TaskTracker::new();
        let ending = CancellationToken::new();
        let waiting_room = wait::WaitingRoom::new();
        let places = Arc::new(Semaphore::new(store.at_once().clamp(1, Semaphore::MAX_PERMITS)));
        let outage = outage::Outage::of(&store.describe());
        let metrics = Arc::new(Metrics::default());
        let pools = policies.into_iter().map(|policy| {
            let pool = PoolInner {
                metrics: metrics.pool(&policy.name),
                store_metrics: metrics.store(),
                policy,
                store: Arc::clone(&store),
                time_limit,
                places: Arc::clone(&places),
                ready: AtomicBool::new(false),
                keys_are_coming: AtomicBool::new(false),
                turn: Arc::new(Mutex::new(())),
                together: if combine { desk::TOGETHER } else { 1 },
                leases: desk::Desk::default(),
                takes: desk::Desk::default(),
                finds: desk::Desk::default(),
                uses: desk::Desk::default(),
                increments: desk::Desk::default(),
                unresolved: AtomicBool::new(false),
                stats: stats::Recent::default(),
                settling: settling.clone(),
                ending: ending.clone(),
                waiting_room: waiting_room.clone(),
                line: wait::Line::default(),
                told: events::Told::default(),
                history: history::History::default(),
                outage: outage.clone(),
            };
            Pool(Arc::new(pool))
        });
        Self { pools: pools.collect(), store, settling, ending, waiting_room, outage, metrics, tried: Arc::default() }
    }

    /// The pool of this name.
    ///
    /// # Errors
    /// [`PoolError::UnknownPool`] where there is none.
    pub fn get(&self, name: &str) -> Result<&Pool, PoolError> {
        self.all().find(|pool| pool.policy().name.as_str() == name).ok_or_else(|| {
            let known = self.all().map(|pool| pool.policy().name.to_string()).collect::<Vec<_>>();
            PoolError::UnknownPool { known: known.join(", ") }
        })
    }

    /// All pools, in the order of their policies.
    pub fn all(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter()
    }

    /// What and where the store is, for people.
    pub fn store(&self) -> String {
        self.store.describe()
    }

    /// Makes what the pools need in the store. Answers with what an operator should know. A pool for which it was
    /// made lends from then on, whatever becomes of the others.
    ///
    /// # Errors
    /// Where it could not be made for a pool: it can be tried again.
    pub async fn prepare(&self) -> Result<Vec<String>, PoolError> {
        let mut notices = Vec::new();
        let mut failed = None;
        for pool in self.all() {
            match timeout(PREPARING, self.store.prepare(pool.policy())).await {
                Ok(Ok(told)) => {
                    notices.extend(told);
                    pool.0.ready.store(true, Ordering::Release);
                }
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(_) => failed = failed.or(Some(StoreError::Away("it took too long to prepare it".into()))),
            }
        }
        self.tried.store(true, Ordering::Release);
        match failed {
            None => Ok(notices),
            Some(error) => {
                self.outage.failed(&error);
                Err(PoolError::Store(error))
            }
        }
    }

    /// Whether the store answers, and has what at least one pool needs. Not before it was tried for each: who is told
    /// that this instance is ready asks it for any of them.
    ///
    /// # Errors
    /// Where it does not, within the time limit.
    pub async fn check_ready(&self) -> Result<(), PoolError> {
        let tried = self.tried.load(Ordering::Acquire);
        match self.all().find(|pool| tried && pool.check_prepared().is_ok()) {
            Some(pool) => pool.within_limit("ping", self.store.ping()).await,
            None => Err(not_prepared()),
        }
    }

    /// The databases that the store can see; none for the embedded one.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn databases(&self) -> Result<Vec<DatabaseFound>, PoolError> {
        let found = timeout(EXAMINING, self.store.databases()).await;
        let found = found.unwrap_or_else(|_| Err(StoreError::Away("it took too long to list the databases".into())));
        found.map_err(PoolError::Store)
    }

    /// Records the policies as those that instances lend by. Answers what an operator should know: which of them
    /// were other ones.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn record_policies(&self) -> Result<Vec<String>, PoolError> {
        let mut notices = Vec::new();
        for pool in self.all() {
            notices.extend(pool.within_limit("record_policy", self.store.record_policy(pool.policy())).await?);
        }
        Ok(notices)
    }

    /// How many callers wait for a key, all pools together.
    pub fn waiting(&self) -> usize {
        self.waiting_room.occupied()
    }

    /// Answers all who wait for a key, now and from now on: the instance stops.
    pub fn stop_waiting(&self) {
        self.waiting_room.close();
    }

    /// Waits until every lease that could not be answered is given back, and every key that is being made is added, at
    /// most `limit` long. A command that takes longer is ended.
    pub async fn settle(&self, limit: Duration) {
        self.settling.close();
        if timeout(limit, self.settling.wait()).await.is_err() {
            self.ending.cancel();
            let _ = timeout(LAST_STEP, self.settling.wait()).await;
        }
    }
}

/// One pool. A cheap handle.
#[derive(Clone)]
pub struct Pool(Arc<PoolInner>);

struct PoolInner {
    policy: Policy,
    store: Arc<dyn Store>,
    time_limit: Duration,
    /// One for each operation that the store does at once, for all pools.
    places: Arc<Semaphore>,
    /// The store has what this pool needs.
    ready: AtomicBool,
    /// See [`Pool::expect_keys`].
    keys_are_coming: AtomicBool,
    /// See [`desk::Turn`].
    turn: Arc<Mutex<()>>,
    /// How many callers go to the store in one step.
    together: usize,
    leases: desk::Desk<lend::Leases>,
    takes: desk::Desk<take::Takes>,
    finds: desk::Desk<find::Finds>,
    uses: desk::Desk<report::Uses>,
    increments: desk::Desk<increment::Increments>,
    /// A hand-out's answer was lost, and what became of it is not known yet.
    unresolved: AtomicBool,
    stats: stats::Recent,
    settling: TaskTracker,
    ending: CancellationToken,
    waiting_room: wait::WaitingRoom,
    line: wait::Line,
    told: events::Told,
    history: history::History,
    outage: outage::Outage,
    metrics: PoolMetrics,
    store_metrics: StoreMetrics,
}

impl Pool {
    /// How this pool is lent.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.0.time_limit
    }

    fn check_prepared(&self) -> Result<(), PoolError> {
        if self.0.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(not_prepared())
    }

    /// Waits for the store, the time limit at most.
    async fn within_limit<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, PoolError> {
        self.until(operation, self.deadline(), answer).await
    }

    async fn until<T>(
        &self,
        operation: &'static str,
        deadline: Instant,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, PoolError> {
        self.check_prepared()?;
        // Half of the time that is left to get a place: who gets none has asked nothing of the store.
        let now = Instant::now();
        let place = timeout_at(now + deadline.saturating_duration_since(now) / 2, self.0.places.acquire()).await;
        let _place = place.map_err(|_| PoolError::Overloaded)?;
        let asked = Instant::now();
        let answer = timeout_at(deadline, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(StoreError::Unresolved("the time limit passed".into())));
        self.0.store_metrics.asked(operation, asked.elapsed(), answer.as_ref().err().map(StoreError::kind));
        answer.inspect_err(|error| self.0.outage.failed(error)).map_err(PoolError::Store)
    }

    /// Reads one key; changes nothing.
    ///
    /// # Errors
    /// [`PoolError::UnknownKey`].
    pub async fn look_up(&self, key: &KeyRef) -> Result<Seen<Key>, PoolError> {
        self.within_limit("look_up", self.store().look_up(self.policy(), key)).await?.ok_or(PoolError::UnknownKey)
    }

    /// Lets a lease last `ttl` from now, never shorter than it would have.
    ///
    /// # Errors
    /// [`PoolError::LeaseGone`] where it was settled or has lapsed.
    pub async fn renew(&self, lease: &LeaseId, ttl: Duration) -> Result<Timestamp, PoolError> {
        self.within_limit("renew", self.store().renew(self.policy(), lease, ttl)).await?.ok_or(PoolError::LeaseGone)
    }

    /// Adds keys in this order.
    ///
    /// # Errors
    /// Where the store does not answer: some may have been added. The same ones can be added again, for what the pool
    /// has is known.
    pub async fn add(&self, keys: &[NewKey]) -> Result<AddedKeys, PoolError> {
        self.within_limit("add", self.store().add(self.policy(), keys)).await
    }

    /// Which of these keys the pool has already, by secret or id; one answer per key. Changes nothing.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn known(&self, keys: &[NewKey]) -> Result<Vec<bool>, PoolError> {
        self.within_limit("known", self.store().known(self.policy(), keys)).await
    }

    /// A part of the pool's keys, in the order of their places: by id, in an `in_order` pool as they were added.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn list(&self, page: Page) -> Result<Seen<Vec<KeyRecord>>, PoolError> {
        self.within_limit("list", self.store().list(self.policy(), page)).await
    }

    /// One key with all that is stored of it.
    ///
    /// # Errors
    /// [`PoolError::UnknownKey`].
    pub async fn show(&self, id: KeyId) -> Result<Seen<KeyRecord>, PoolError> {
        self.within_limit("show", self.store().show(self.policy(), id)).await?.ok_or(PoolError::UnknownKey)
    }

    /// Changes a key as an operator wants it, and answers it as it is then.
    ///
    /// # Errors
    /// [`PoolError::UnknownKey`]; [`PoolError::KnownSecret`] where another key has the new secret: nothing was changed.
    pub async fn change(&self, id: KeyId, change: &KeyChange) -> Result<Seen<KeyRecord>, PoolError> {
        match self.within_limit("change", self.store().change(self.policy(), id, change)).await? {
            Changed::Changed(key) => {
                self.tell_changed(id, change);
                self.0.line.freed();
                Ok(*key)
            }
            Changed::UnknownKey => Err(PoolError::UnknownKey),
            Changed::KnownSecret => Err(PoolError::KnownSecret),
        }
    }

    /// Keeps the secret of a key in another way; its leases, counts and state stay.
    ///
    /// # Errors
    /// Where the store does not answer: it can be repeated.
    pub async fn keep_anew(&self, id: KeyId, keeping: Keeping) -> Result<KeptAnew, PoolError> {
        self.within_limit("keep_anew", self.store().keep_anew(self.policy(), id, keeping)).await
    }

    /// Takes a key out of the pool; reports of its leases are answered that they are gone.
    ///
    /// # Errors
    /// [`PoolError::UnknownKey`].
    pub async fn remove(&self, id: KeyId) -> Result<(), PoolError> {
        match self.within_limit("remove", self.store().remove(self.policy(), id)).await? {
            true => {
                self.tell_moved(Transition::Removed, Some(id), 1);
                Ok(())
            }
            false => Err(PoolError::UnknownKey),
        }
    }

    /// Sets the counts of these keys to 0. Answers those that are there.
    ///
    /// # Errors
    /// Where the store does not answer: it can be repeated.
    pub async fn reset(&self, ids: &[KeyId]) -> Result<Vec<KeyId>, PoolError> {
        let reset = self.within_limit("reset", self.store().reset(self.policy(), ids)).await?;
        match reset[..] {
            [] => {}
            [one] => self.tell_moved(Transition::Reset, Some(one), 1),
            _ => self.tell_moved(Transition::Reset, None, reset.len() as u64),
        }
        self.0.line.freed();
        Ok(reset)
    }

    /// Sets the counts of all keys to 0, part by part. Answers how many there were.
    ///
    /// # Errors
    /// Where the store does not answer: some are reset, and it can be repeated.
    pub async fn reset_all(&self) -> Result<u64, PoolError> {
        let mut all = self.walk(RESET_AT_ONCE);
        let mut count = 0;
        while let Some(part) = all.next().await? {
            let ids: Vec<KeyId> = part.value.iter().map(|record| record.key.id).collect();
            count += self.reset(&ids).await?.len() as u64;
        }
        Ok(count)
    }

    /// An open lease as operators see it.
    ///
    /// # Errors
    /// [`PoolError::LeaseGone`] where it was settled or has lapsed.
    pub async fn find_lease(&self, lease: &LeaseId) -> Result<OpenLease, PoolError> {
        self.within_limit("find_lease", self.store().find_lease(self.policy(), lease))
            .await?
            .ok_or(PoolError::LeaseGone)
    }

    /// What the pool's collection or table holds; of invalid documents and of duplicates the first `listed`. Asked of
    /// a store that was never prepared, too.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn examine(&self, listed: u32) -> Result<Examination, PoolError> {
        let examined = timeout(EXAMINING, self.store().examine(self.policy(), listed)).await;
        let examined = examined.unwrap_or_else(|_| Err(StoreError::Away("it took too long to look through it".into())));
        examined.map_err(PoolError::Store)
    }

    /// Counts the pool as [`Pool::examine`] looks at it: also where the store was never prepared, if what the pool
    /// needs is there.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn examine_stats(&self) -> Result<PoolStats, PoolError> {
        let counted = timeout(EXAMINING, self.store().stats(self.policy(), self.policy().uses_per_key)).await;
        let counted = counted.unwrap_or_else(|_| Err(StoreError::Away("it took too long to count it".into())));
        counted.map_err(PoolError::Store)
    }

    /// The pool at this moment, or as it was a moment ago: computed once for all who ask together.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn stats(&self) -> Result<PoolStats, PoolError> {
        self.recent_stats(self.deadline(), |_| true).await
    }
}

fn not_prepared() -> PoolError {
    PoolError::Store(StoreError::Away("the store is not prepared yet".into()))
}
