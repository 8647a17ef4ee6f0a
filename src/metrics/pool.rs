//! What is counted and measured of a pool.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::{Outcome, PoolName, PoolStats, State, Transition, WhyNone};

/// The bounds of the buckets of how old leases become, in seconds: they last 5 minutes where nothing else is said, and
/// an hour at most where they are not renewed.
const AGES: [f64; 12] = [0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 150.0, 300.0, 900.0, 3600.0];

/// The bounds of the buckets of callers who went to the store together.
const BATCHES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// How a key was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOut {
    /// By a new lease.
    Lease,
    /// By the lease that the same request got before.
    Repeat,
    /// Counted at once, without a lease.
    Take,
    /// Neither reserved nor counted.
    Find,
}

impl HandOut {
    const ALL: [Self; 4] = [Self::Lease, Self::Repeat, Self::Take, Self::Find];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Repeat => "repeat",
            Self::Take => "take",
            Self::Find => "find",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPool {
    pool: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    pool: Arc<str>,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    pool: Arc<str>,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithOutcome {
    pool: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForReason {
    pool: Arc<str>,
    reason: &'static str,
}

type Measured<L> = Family<L, Histogram, fn() -> Histogram>;

/// Of all pools.
#[derive(Clone)]
pub(super) struct Families {
    keys: Family<InState, Gauge>,
    uses_left: Family<InPool, Gauge>,
    uses_counted: Family<InPool, Gauge>,
    open_leases: Family<InPool, Gauge>,
    rejected: Family<InPool, Gauge>,
    key_requests: Family<InPool, Gauge>,
    hand_outs: Family<OfKind, Counter>,
    latency: Measured<OfKind>,
    empty: Family<ForReason, Counter>,
    reports: Family<WithOutcome, Counter>,
    ages: Measured<InPool>,
    lapsed: Family<InPool, Counter>,
    increments: Family<InPool, Counter>,
    transitions: Family<ForReason, Counter>,
    batches: Measured<OfKind>,
}

impl Families {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let answers: fn() -> Histogram = || Histogram::new(super::ANSWERS);
        let ages: fn() -> Histogram = || Histogram::new(AGES);
        let batches: fn() -> Histogram = || Histogram::new(BATCHES);
        let all = Self {
            keys: Family::default(),
            uses_left: Family::default(),
            uses_counted: Family::default(),
            open_leases: Family::default(),
            rejected: Family::default(),
            key_requests: Family::default(),
            hand_outs: Family::default(),
            latency: Family::new_with_constructor(answers),
            empty: Family::default(),
            reports: Family::default(),
            ages: Family::new_with_constructor(ages),
            lapsed: Family::default(),
            increments: Family::default(),
            transitions: Family::default(),
            batches: Family::new_with_constructor(batches),
        };
        // What the store holds, the same on every instance.
        registry.register("keys", "Keys in the store, by state", all.keys.clone());
        registry.register("uses_left", "Uses that the keys in the store can still give", all.uses_left.clone());
        registry.register("uses_counted", "Uses counted on the keys in the store", all.uses_counted.clone());
        registry.register("open_leases", "Leases in the store that are not settled", all.open_leases.clone());
        let help = "Keys in the store that a report disabled as rejected";
        registry.register("rejected_keys", help, all.rejected.clone());
        let help = "Keys that people were asked for and did not bring yet";
        registry.register("key_requests", help, all.key_requests.clone());
        // What this instance did and saw.
        registry.register("hand_outs", "Keys handed out by this instance", all.hand_outs.clone());
        let help = "How long callers waited for a key that was handed out, in seconds; not what they asked to wait";
        registry.register("hand_out_seconds", help, all.latency.clone());
        registry.register("empty_answers", "Callers told that there is no usable key, by why", all.empty.clone());
        registry.register("reports", "Reports of leases, by outcome; gone: of none that was open", all.reports.clone());
        let help = "How old leases were when they were reported, in seconds";
        registry.register("lease_age_seconds", help, all.ages.clone());
        registry.register("leases_lapsed", "Leases settled without a report", all.lapsed.clone());
        registry.register("increments", "Uses counted by increment_usage", all.increments.clone());
        let help = "Keys that went out of use or came back, by what this instance saw do it";
        registry.register("key_transitions", help, all.transitions.clone());
        registry.register("batch_callers", "Callers who went to the store in one step", all.batches.clone());
        all
    }

    pub(super) fn of(&self, name: &PoolName) -> PoolMetrics {
        let metrics = PoolMetrics { pool: name.as_str().into(), all: self.clone() };
        metrics.begin();
        metrics
    }
}

/// What is counted and measured of one pool. A cheap handle.
#[derive(Clone)]
pub struct PoolMetrics {
    pool: Arc<str>,
    all: Families,
}

impl PoolMetrics {
    /// Every counter begins at 0, so that its first step is seen as one.
    fn begin(&self) {
        HandOut::ALL.into_iter().for_each(|kind| _ = self.all.hand_outs.get_or_create(&self.kind(kind.as_str())));
        WhyNone::ALL.into_iter().for_each(|why| _ = self.all.empty.get_or_create(&self.reason(why.as_str())));
        let outcomes = Outcome::ALL.into_iter().map(Outcome::as_str).chain(["gone"]);
        outcomes.for_each(|outcome| _ = self.all.reports.get_or_create(&self.outcome(outcome)));
        let reasons = Transition::ALL.into_iter().map(Transition::as_str);
        reasons.for_each(|reason| _ = self.all.transitions.get_or_create(&self.reason(reason)));
        drop(self.all.lapsed.get_or_create(&self.labels()));
        drop(self.all.increments.get_or_create(&self.labels()));
    }

    fn labels(&self) -> InPool {
        InPool { pool: Arc::clone(&self.pool) }
    }

    fn kind(&self, kind: &'static str) -> OfKind {
        OfKind { pool: Arc::clone(&self.pool), kind }
    }

    fn reason(&self, reason: &'static str) -> ForReason {
        ForReason { pool: Arc::clone(&self.pool), reason }
    }

    fn outcome(&self, outcome: &'static str) -> WithOutcome {
        WithOutcome { pool: Arc::clone(&self.pool), outcome }
    }

    /// A key was handed out, so long after it was asked for.
    pub fn handed_out(&self, kind: HandOut, took: Duration) {
        let labels = self.kind(kind.as_str());
        self.all.hand_outs.get_or_create(&labels).inc();
        self.all.latency.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A caller was told that there is no usable key.
    pub fn empty(&self, stats: &PoolStats) {
        self.all.empty.get_or_create(&self.reason(WhyNone::of(stats).as_str())).inc();
    }

    /// A lease was reported at this age; None = nobody knows it.
    pub fn reported(&self, outcome: Outcome, age: Option<Duration>) {
        self.all.reports.get_or_create(&self.outcome(outcome.as_str())).inc();
        if let Some(age) = age {
            self.all.ages.get_or_create(&self.labels()).observe(age.as_secs_f64());
        }
    }

    /// A lease was reported that is not open.
    pub fn reported_gone(&self) {
        self.all.reports.get_or_create(&self.outcome("gone")).inc();
    }

    /// So many leases were settled without a report.
    pub fn lapsed(&self, leases: u64) {
        self.all.lapsed.get_or_create(&self.labels()).inc_by(leases);
    }

    /// A use was counted without a lease.
    pub fn incremented(&self) {
        self.all.increments.get_or_create(&self.labels()).inc();
    }

    /// So many keys went out of use, or came back.
    pub fn moved(&self, transition: Transition, keys: u64) {
        self.all.transitions.get_or_create(&self.reason(transition.as_str())).inc_by(keys);
    }

    /// So many callers go to the store together.
    pub fn together(&self, desk: &'static str, callers: usize) {
        self.all.batches.get_or_create(&self.kind(desk)).observe(callers as f64);
    }

    /// What the store holds, as it is now; None = nobody knows, and it is not shown.
    pub fn holds(&self, stats: Option<&PoolStats>) {
        let Some(stats) = stats else { return self.forget() };
        for state in State::ALL {
            let labels = InState { pool: Arc::clone(&self.pool), state: state.as_str() };
            self.all.keys.get_or_create(&labels).set(whole(stats.keys.of(state)));
        }
        let labels = self.labels();
        self.all.uses_left.get_or_create(&labels).set(whole(stats.left));
        self.all.uses_counted.get_or_create(&labels).set(whole(stats.counted));
        self.all.open_leases.get_or_create(&labels).set(whole(stats.leased));
        self.all.rejected.get_or_create(&labels).set(whole(stats.rejected));
        self.all.key_requests.get_or_create(&labels).set(whole(stats.key_requests));
    }

    fn forget(&self) {
        for state in State::ALL {
            self.all.keys.remove(&InState { pool: Arc::clone(&self.pool), state: state.as_str() });
        }
        let labels = self.labels();
        let all = &self.all;
        for gauge in [&all.uses_left, &all.uses_counted, &all.open_leases, &all.rejected, &all.key_requests] {
            gauge.remove(&labels);
        }
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
