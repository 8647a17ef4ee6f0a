//! Lending: one step after another on an instance, confirmed when there is no key, given back when nobody takes it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout};

use super::desk::{Caller, Desk, Service, Turn, earliest, refuse};
use super::measured::clock;
use super::{Pool, PoolError, PoolInner};
use crate::domain::{EntryId, IdempotencyDigest, LeaseId, PoolStats, State};
use crate::metrics::HandOut;
use crate::store::{LeaseAnswer, LeaseRequest, LeasedKey, StoreError};

/// The first and the longest pause between two tries to settle what could not be answered.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The longest pause between two looks for a key that the pool says it has: others keep taking it first.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why a lease is not passed on that the store took too long to make.
const LATE: &str = "the answer came after half of the lease had passed";

/// How many leases that nobody could be told of are given back at the same time.
const GIVEN_BACK_AT_ONCE: usize = 8;

/// What a caller asks a lease with.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// How long it should last; None = as the pool says.
    pub ttl: Option<Duration>,
    /// The name of the caller's token; empty without one.
    pub by: String,
    /// Makes a repeated request the same while its lease is open.
    pub idempotency_key: Option<String>,
    /// How long to wait for a key where none is usable but one can become free; None = not at all.
    pub wait: Option<Duration>,
}

/// A key lent. Dropped without [`Lent::answered`], a new lease is given back as unused.
pub struct Lent {
    lease: LeaseId,
    key: LeasedKey,
    new: bool,
    unanswered: Option<(Pool, LeaseRequest)>,
}

impl Lent {
    /// The id by which the caller settles it.
    pub fn lease(&self) -> &LeaseId {
        &self.lease
    }

    /// The key and when the lease ends.
    pub fn key(&self) -> &LeasedKey {
        &self.key
    }

    /// False where the same request got this lease before.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// To be called when the answer is on its way: from here on the lease is the caller's.
    pub fn answered(mut self) {
        self.unanswered = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((pool, request)) = self.unanswered.take() {
            pool.give_back_later(request);
        }
    }
}

/// A key that a request got, and whether by a new lease; or why it cannot have the lease that it got before.
type Leased = Result<(LeasedKey, bool), StoreError>;

/// The desk of the leases.
pub(super) struct Leases;

impl Service for Leases {
    type Ask = LeaseRequest;
    type Got = Lent;
    type Leave = Turn;

    const NAME: &'static str = "lease";

    fn desk(pool: &PoolInner) -> &Desk<Self> {
        &pool.leases
    }

    async fn leave(pool: &Pool) -> Turn {
        pool.turn().await
    }

    fn go_together(_: &LeaseRequest, _: &LeaseRequest) -> bool {
        true
    }

    async fn serve(pool: &Pool, callers: Vec<Caller<Self>>, turn: Turn) {
        let requests: Vec<LeaseRequest> = callers.iter().map(|caller| caller.ask.clone()).collect();
        let deadline = earliest(&callers);
        let leased = pool.look(pool.policy().uses_per_key, deadline, || async {
            // Before the store's own instant: what is left of a lease is at least what is left from here.
            let asked = Instant::now();
            Ok(pool.reserve(&requests, deadline).await?.map(|leased| (leased, asked)))
        });
        let (leased, asked) = match leased.await {
            Ok(leased) => leased,
            Err(error) => {
                if error.is_unresolved() {
                    pool.resolve(requests, turn);
                }
                return refuse(callers, error);
            }
        };
        drop(turn);
        let mut again = Vec::new();
        for ((caller, request), leased) in callers.into_iter().zip(requests).zip(leased) {
            let leased = match leased.transpose() {
                Ok(leased) => leased,
                Err(error) => {
                    caller.answer(Err(PoolError::Store(error)));
                    continue;
                }
            };
            let is_new = leased.as_ref().is_none_or(|(_, is_new)| *is_new);
            let is_late = is_new && asked.elapsed() > request.ttl / 2;
            let lent = leased.map(|(key, is_new)| {
                caller.span.in_scope(|| pool.tell_handed_out(key.id));
                pool.lent(key, is_new.then_some(request))
            });
            match lent {
                // Also where it got none: its lease can have lapsed before it was read, and so would the next one.
                _ if is_late => caller.answer(Err(PoolError::Store(StoreError::Away(LATE.into())))),
                Some(lent) => caller.answer(Ok(lent)),
                None => again.push(caller),
            }
        }
        pool.0.leases.go_again(again);
    }
}

impl Pool {
    /// Lends the key that goes first: one use of it is reserved until the lease is reported or lapses.
    ///
    /// # Errors
    /// [`PoolError::NoUsableKey`] after a look that could have found one; [`PoolError::Overloaded`] where too many wait.
    pub async fn lease(&self, ask: Ask) -> Result<Lent, PoolError> {
        let lent = match ask.wait {
            Some(wait) => self.lease_within(ask, wait).await,
            None => self.lease_now(&ask).await,
        };
        self.measure_empty(lent)
    }

    /// Lends, or says that there is no key, without waiting for one.
    pub(super) async fn lease_now(&self, ask: &Ask) -> Result<Lent, PoolError> {
        self.check_resolved()?;
        let came = Instant::now();
        let lent = self.ask::<Leases>(self.request(ask)).await;
        self.measure(came, lent, |lent| if lent.is_new() { HandOut::Lease } else { HandOut::Repeat })
    }

    pub(super) fn check_resolved(&self) -> Result<(), PoolError> {
        if self.0.unresolved.load(Ordering::Acquire) {
            return Err(PoolError::Store(StoreError::Away("an earlier hand-out is not resolved yet".into())));
        }
        Ok(())
    }

    /// Asks the store for these leases; None = no key was usable. One answer per request: the key, and whether the lease
    /// is a new one.
    async fn reserve(
        &self,
        requests: &[LeaseRequest],
        deadline: Instant,
    ) -> Result<Option<Vec<Option<Leased>>>, PoolError> {
        let policy = self.policy();
        let answers = match requests {
            [request] => vec![self.until("lease", deadline, self.store().lease(policy, request)).await?],
            requests => self.until("lease_all", deadline, self.store().lease_all(policy, requests)).await?,
        };
        let leased = answers.into_iter().map(|answer| match answer {
            LeaseAnswer::New(key) => Some(Ok((key, true))),
            LeaseAnswer::Same(key) => Some(Ok((key, false))),
            LeaseAnswer::SameUnreadable => Some(Err(StoreError::same_unreadable())),
            LeaseAnswer::NoUsableKey => None,
        });
        let leased: Vec<Option<Leased>> = leased.collect();
        Ok(leased.iter().any(Option::is_some).then_some(leased))
    }

    fn request(&self, ask: &Ask) -> LeaseRequest {
        let entry = EntryId::new(clock(), rand::random());
        let policy = self.policy();
        LeaseRequest {
            entry,
            ttl: ask.ttl.unwrap_or(policy.lease_ttl),
            by: ask.by.clone(),
            idem: match &ask.idempotency_key {
                Some(key) => IdempotencyDigest::new(&ask.by, &policy.name, key),
                None => IdempotencyDigest::none(entry),
            },
        }
    }

    /// `new`: the request that made this lease, and gives it back where nobody takes it.
    fn lent(&self, key: LeasedKey, new: Option<LeaseRequest>) -> Lent {
        Lent {
            lease: LeaseId { pool: self.policy().name.clone(), key: key.id, entry: key.entry },
            key,
            new: new.is_some(),
            unanswered: new.map(|request| (self.clone(), request)),
        }
    }

    /// The open lease that the same request got before; None = there is none.
    pub(super) async fn find_same(&self, ask: &Ask) -> Result<Option<Lent>, PoolError> {
        let came = Instant::now();
        let same = self.within_limit("find_same", self.store().find_same(self.policy(), &self.request(ask))).await;
        let Some(key) = same.map_err(PoolError::nothing_lent)? else { return Ok(None) };
        self.measure(came, Ok(Some(self.lent(key, None))), |_| HandOut::Repeat)
    }

    /// Looks for a key until there is one, or surely none.
    ///
    /// An empty answer alone is no proof: leases may have lapsed since, and a store under contention can pass by a
    /// key that is free. So what lapsed is settled, the pool is counted, and a usable key in it means another look.
    pub(super) async fn look<T, F>(
        &self,
        uses_per_key: u32,
        deadline: Instant,
        look: impl Fn() -> F,
    ) -> Result<T, PoolError>
    where
        F: Future<Output = Result<Option<T>, PoolError>>,
    {
        loop {
            let looked = Instant::now();
            if let Some(found) = look().await? {
                return Ok(found);
            }
            let swept = self.until("sweep", deadline, self.store().sweep(self.policy())).await;
            if swept.map_err(PoolError::nothing_lent)? > 0 {
                continue;
            }
            let stats = if uses_per_key == self.policy().uses_per_key {
                // Older ones may still count a key that was taken since; that there is none they may say.
                let good =
                    |(stats, started): (&PoolStats, Instant)| stats.keys.of(State::Usable) == 0 || started >= looked;
                self.recent_stats(deadline, good).await
            } else {
                self.until("stats", deadline, self.store().stats(self.policy(), uses_per_key)).await
            };
            let stats = stats.map_err(PoolError::nothing_lent)?;
            if stats.keys.of(State::Usable) == 0 && self.0.keys_are_coming.load(Ordering::Acquire) {
                let why = "its key file was not read yet since the start";
                return Err(PoolError::Store(StoreError::Away(why.into())));
            }
            if stats.keys.of(State::Usable) == 0 {
                if uses_per_key == self.policy().uses_per_key {
                    self.tell_dry(&stats);
                }
                return Err(PoolError::NoUsableKey { pool: self.policy().name.clone(), stats: Box::new(stats) });
            }
            let pause = rand::random_range(Duration::from_millis(1)..=LOOK_AGAIN);
            if Instant::now() + pause >= deadline {
                return Err(PoolError::Overloaded);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Finds out what became of leases whose answer was lost. Until then it keeps the turn: nothing else is handed
    /// out, and callers are told at once.
    fn resolve(&self, requests: Vec<LeaseRequest>, turn: Turn) {
        let pool = self.clone();
        self.hold(turn, async move {
            let missing = pool.give_all_back(requests).await;
            let is_known = missing.is_empty();
            let again = async move {
                // The command may have been delayed on its way, not lost: the server itself stops it after the
                // time limit. Another look afterwards finds what it still did.
                tokio::time::sleep(2 * pool.0.time_limit).await;
                pool.give_all_back(missing).await;
            };
            (!is_known).then_some(again)
        });
    }

    /// Gives these leases back, however long the store is away. Answers those that were not there.
    async fn give_all_back(&self, requests: Vec<LeaseRequest>) -> Vec<LeaseRequest> {
        let given_back = stream::iter(requests).map(|request| async move {
            let there = self.give_back(&request).await;
            (!there).then_some(request)
        });
        given_back.buffer_unordered(GIVEN_BACK_AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// Waits until the store answers again after a take whose answer was lost. Until then it keeps the turn.
    pub(super) fn wait_out(&self, turn: Turn) {
        let pool = self.clone();
        self.hold(turn, async move {
            let mut pause = BACK_OFF.0;
            while !matches!(timeout(pool.0.time_limit, pool.store().ping()).await, Ok(Ok(()))) {
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(BACK_OFF.1);
            }
            None::<std::future::Ready<()>>
        });
    }

    /// Keeps the turn until `known` says what became of a hand-out; what it answers with is done afterwards.
    fn hold<F: Future<Output = ()> + Send>(&self, turn: Turn, known: impl Future<Output = Option<F>> + Send + 'static) {
        self.0.unresolved.store(true, Ordering::Release);
        self.tell_unanswered();
        let pool = self.clone();
        self.0.settling.spawn(async move {
            // A store that fails at once would be asked for the next hand-out at once, and fail again.
            tokio::time::sleep(BACK_OFF.0.mul_f64(rand::random_range(0.5..1.0))).await;
            let afterwards = known.await;
            pool.0.unresolved.store(false, Ordering::Release);
            drop(turn);
            if let Some(afterwards) = afterwards {
                afterwards.await;
            }
        });
    }

    /// Gives back in the background a lease that nobody was there to take.
    fn give_back_later(&self, request: LeaseRequest) {
        let pool = self.clone();
        let give_back = async move {
            pool.give_back(&request).await;
        };
        // Without a runtime the process is at its end: the lease lapses.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.0.settling.spawn_on(give_back, &runtime);
        }
    }

    /// Gives a lease back, however long the store is away; until it would have lapsed at the latest. True = it was
    /// there.
    async fn give_back(&self, request: &LeaseRequest) -> bool {
        let there = self.try_give_back(request).await;
        if there {
            self.0.line.freed();
        }
        there
    }

    async fn try_give_back(&self, request: &LeaseRequest) -> bool {
        let lapses = Instant::now() + request.ttl + self.0.time_limit;
        let mut pause = BACK_OFF.0;
        loop {
            match timeout(self.0.time_limit, self.store().give_back(self.policy(), request)).await {
                Ok(Ok(there)) => return there,
                Ok(Err(error)) => tracing::debug!(error = error.chain(), "a lease could not be given back yet"),
                Err(_) => tracing::debug!("a lease could not be given back yet: the time limit passed"),
            }
            if Instant::now() > lapses {
                return false;
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(BACK_OFF.1);
        }
    }
}
