//! Stats: keys by state, uses, counts.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::stats::KeyCounts;
use crate::domain::{Picks, Policy, PoolName, PoolStats, State, Timestamp};

/// The stats of all pools.
#[derive(Serialize, ToSchema)]
pub struct StatsReply<'a> {
    #[schema(required)]
    generated_at: Option<Timestamp>,
    pools: Vec<PoolStatsReply<'a>>,
}

impl<'a> StatsReply<'a> {
    /// The pools with their stats; as old as the oldest of them.
    pub fn new(pools: impl IntoIterator<Item = (&'a Policy, PoolStats)>) -> Self {
        let mut generated_at: Option<Timestamp> = None;
        let pools = pools.into_iter().map(|(policy, stats)| {
            generated_at = Some(generated_at.map_or(stats.generated_at, |oldest| oldest.min(stats.generated_at)));
            PoolStatsReply::new(policy, &stats)
        });
        let pools = pools.collect();
        Self { generated_at, pools }
    }
}

/// The stats of one pool, with the instant at which they were gathered.
#[derive(Serialize, ToSchema)]
pub struct OnePoolReply<'a> {
    generated_at: Timestamp,
    #[serde(flatten)]
    pool: PoolStatsReply<'a>,
}

impl<'a> OnePoolReply<'a> {
    /// The pool and its stats.
    pub fn new(policy: &'a Policy, stats: &PoolStats) -> Self {
        Self { generated_at: stats.generated_at, pool: PoolStatsReply::new(policy, stats) }
    }
}

/// The stats of one pool among others.
#[derive(Serialize, ToSchema)]
pub struct PoolStatsReply<'a> {
    #[schema(value_type = PoolName)]
    name: &'a str,
    #[schema(value_type = Picks)]
    picks: &'static str,
    uses_per_key: u32,
    keys: KeyCountsReply,
    uses: UsesReply,
    usage_counts: Vec<UsageCountReply>,
    #[schema(required)]
    last_used: Option<Timestamp>,
    #[schema(required)]
    next_due_at: Option<Timestamp>,
    needs_migration: u64,
    rejected: u64,
    key_requests: u64,
}

impl<'a> PoolStatsReply<'a> {
    /// The pool and its stats.
    pub fn new(policy: &'a Policy, stats: &PoolStats) -> Self {
        let mut usage_counts: Vec<UsageCountReply> = stats
            .usage_counts
            .iter()
            .map(|&(count, keys)| UsageCountReply { usage_count: CountOrMore::Count(count), keys })
            .collect();
        if stats.more > 0 {
            usage_counts.push(UsageCountReply { usage_count: CountOrMore::More("more"), keys: stats.more });
        }
        Self {
            name: policy.name.as_str(),
            picks: policy.picks.as_str(),
            uses_per_key: policy.uses_per_key,
            keys: KeyCountsReply::from(stats.keys),
            uses: UsesReply { counted: stats.counted, leased: stats.leased, left: stats.left },
            usage_counts,
            last_used: stats.last_used,
            next_due_at: stats.next_due_at,
            needs_migration: stats.needs_migration,
            rejected: stats.rejected,
            key_requests: stats.key_requests,
        }
    }
}

/// Keys by state.
#[derive(Serialize, ToSchema)]
pub struct KeyCountsReply {
    total: u64,
    usable: u64,
    leased: u64,
    resting: u64,
    spent: u64,
    disabled: u64,
    invalid: u64,
}

impl From<KeyCounts> for KeyCountsReply {
    fn from(keys: KeyCounts) -> Self {
        Self {
            total: keys.total(),
            usable: keys.of(State::Usable),
            leased: keys.of(State::Leased),
            resting: keys.of(State::Resting),
            spent: keys.of(State::Spent),
            disabled: keys.of(State::Disabled),
            invalid: keys.of(State::Invalid),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct UsesReply {
    counted: u64,
    leased: u64,
    left: u64,
}

#[derive(Serialize, ToSchema)]
struct UsageCountReply {
    usage_count: CountOrMore,
    keys: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum CountOrMore {
    Count(u64),
    More(&'static str),
}
