//! What a pool holds at one instant: keys by state, uses, and when the next key is due.

use std::collections::BTreeMap;
use std::time::Duration;

use super::key::Key;
use super::pool::{Lapsed, Policy};
use super::state::{State, state};
use super::timestamp::Timestamp;

/// How long a caller waits where only open leases can bring a key back: nobody knows when they end.
const RETRY_WHILE_LEASED: Duration = Duration::from_secs(5);

/// The bounds of every `Retry-After`.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// How many keys are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts([u64; State::ALL.len()]);

impl KeyCounts {
    /// Keys in `state`.
    pub const fn of(&self, state: State) -> u64 {
        self.0[state as usize]
    }

    /// Keys in all states together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Keys that are alike in state and count, as a store gathers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their state.
    pub state: State,
    /// Their count; None for an invalid one. Counts above `uses_per_key` can be given as any number above it.
    pub usage_count: Option<u64>,
    /// How many there are.
    pub keys: u64,
    /// Their counts together.
    pub counted: u64,
    /// Their open leases together.
    pub leased: u64,
    /// What is left on them together: uses that are neither counted nor out on lease.
    pub left: u64,
    /// The latest `last_used` of them; None = never used.
    pub last_used: Option<Timestamp>,
    /// When the first of them will be usable by the end of a rest or, in a refund pool, of a lease; None = never
    /// by itself.
    pub due_at: Option<Timestamp>,
}

impl Group {
    /// The group of one key.
    pub fn of(key: &Key, policy: &Policy, uses_per_key: u32, now: Timestamp) -> Self {
        let state = state(key, uses_per_key, now);
        let left = key.left(uses_per_key);
        let lease_ends_at = key.first_lease_ends_at.filter(|_| policy.lapsed == Lapsed::Refund);
        let due_at = match state {
            State::Resting if left > 0 => key.resting_until,
            State::Resting => lease_ends_at.max(key.resting_until.filter(|_| lease_ends_at.is_some())),
            State::Leased => lease_ends_at,
            State::Invalid | State::Disabled | State::Spent | State::Usable => None,
        };
        Self {
            state,
            usage_count: key.usage_count.whole().filter(|_| state != State::Invalid),
            keys: 1,
            counted: key.usage_count.whole().unwrap_or(0),
            leased: key.open_leases.unwrap_or(0),
            left,
            last_used: key.last_used,
            due_at,
        }
    }
}

/// A pool at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// The store's clock when it was gathered.
    pub generated_at: Timestamp,
    /// Keys by state.
    pub keys: KeyCounts,
    /// Uses counted, on all keys but invalid ones.
    pub counted: u64,
    /// Open leases.
    pub leased: u64,
    /// Uses left on keys that are neither disabled nor invalid.
    pub left: u64,
    /// Keys by count, from 0 to the uses per key, without those that no key has; invalid keys left out.
    pub usage_counts: Vec<(u64, u64)>,
    /// Keys with a higher count than that.
    pub more: u64,
    /// The latest `last_used`; None = no key was ever used.
    pub last_used: Option<Timestamp>,
    /// When the next key is due by itself; None where nothing will be.
    pub next_due_at: Option<Timestamp>,
    /// Documents that still hold credits and no count.
    pub needs_migration: u64,
    /// Of the disabled keys those that a report rejected: their provider does not take them.
    pub rejected: u64,
    /// The keys that people were asked for and did not bring yet.
    pub key_requests: u64,
}

/// What is counted beside the groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct Besides {
    /// Documents that still hold credits and no count.
    pub needs_migration: u64,
    /// Disabled keys that a report rejected.
    pub rejected: u64,
    /// Open requests for keys.
    pub key_requests: u64,
}

/// Adds groups up to the stats of a pool.
#[derive(Debug)]
pub struct Gathering {
    stats: PoolStats,
    uses_per_key: u64,
    usage_counts: BTreeMap<u64, u64>,
}

impl Gathering {
    /// An empty pool whose keys give `uses_per_key` uses each, at `generated_at`.
    pub fn new(uses_per_key: u32, generated_at: Timestamp) -> Self {
        let stats = PoolStats {
            generated_at,
            keys: KeyCounts::default(),
            counted: 0,
            leased: 0,
            left: 0,
            usage_counts: Vec::new(),
            more: 0,
            last_used: None,
            next_due_at: None,
            needs_migration: 0,
            rejected: 0,
            key_requests: 0,
        };
        Self { stats, uses_per_key: u64::from(uses_per_key), usage_counts: BTreeMap::new() }
    }

    /// Adds keys that are alike.
    pub fn add(&mut self, group: &Group) {
        let stats = &mut self.stats;
        stats.keys.0[group.state as usize] += group.keys;
        stats.last_used = stats.last_used.max(group.last_used);
        stats.leased = stats.leased.saturating_add(group.leased);
        let Some(count) = group.usage_count else { return };
        stats.counted = stats.counted.saturating_add(group.counted);
        if count <= self.uses_per_key {
            *self.usage_counts.entry(count).or_default() += group.keys;
        } else {
            stats.more += group.keys;
        }
        if group.state != State::Disabled {
            stats.left = stats.left.saturating_add(group.left);
            stats.next_due_at = earliest(stats.next_due_at, group.due_at);
        }
    }

    /// The stats, with what a store counts besides.
    pub fn finish(self, besides: Besides) -> PoolStats {
        let Besides { needs_migration, rejected, key_requests } = besides;
        let usage_counts = self.usage_counts.into_iter().collect();
        PoolStats { usage_counts, needs_migration, rejected, key_requests, ..self.stats }
    }
}

impl PoolStats {
    /// How long a caller who got no key should wait: until the next key is due; 5 s where only open leases could
    /// bring one back; None where nothing can. Between 1 s and an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        let wait = match self.next_due_at {
            Some(due) => due.since(self.generated_at),
            None if self.keys.of(State::Leased) + self.keys.of(State::Resting) > 0 => RETRY_WHILE_LEASED,
            None => return None,
        };
        Some(wait.clamp(RETRY_AFTER.0, RETRY_AFTER.1))
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{KeyId, Secret, UsageCount};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn at(millis: i64) -> Option<Timestamp> {
        Some(Timestamp::from_millis(millis))
    }

    fn policy(lapsed: Lapsed) -> Policy {
        let [policy, ..] = Policy::built_in();
        Policy { lapsed, ..policy }
    }

    fn key(count: u64, open: u64) -> Key {
        Key {
            id: KeyId::from_bytes([1; 12]),
            secret: Secret::parse("sk-1").ok(),
            usage_count: UsageCount::Whole(count),
            last_used: None,
            is_active: true,
            open_leases: Some(open),
            first_lease_ends_at: (open > 0).then_some(Timestamp::from_millis(1_500_000)),
            resting_until: None,
        }
    }

    fn stats(keys: &[Key], lapsed: Lapsed) -> PoolStats {
        let policy = policy(lapsed);
        gather(keys.iter().map(|key| Group::of(key, &policy, 4, NOW)))
    }

    fn gather(groups: impl IntoIterator<Item = Group>) -> PoolStats {
        let mut gathering = Gathering::new(4, NOW);
        groups.into_iter().for_each(|group| gathering.add(&group));
        gathering.finish(Besides::default())
    }

    #[test]
    fn sums_keys_uses_and_counts() {
        let disabled = Key { is_active: false, last_used: at(999_000), ..key(1, 1) };
        let invalid = Key { usage_count: UsageCount::Odd(0.7), last_used: at(1_000), ..key(0, 1) };
        let seen = stats(
            &[key(0, 0), key(0, 1), key(3, 1), key(4, 0), key(9, 0), key(7, 0), disabled, invalid],
            Lapsed::Count,
        );
        assert_eq!(State::ALL.map(|state| seen.keys.of(state)), [1, 1, 3, 0, 1, 2]);
        assert_eq!(seen.keys.total(), 8);
        assert_eq!((seen.counted, seen.leased, seen.left), (24, 4, 7));
        assert_eq!(seen.usage_counts, [(0, 2), (1, 1), (3, 1), (4, 1)]);
        assert_eq!(seen.more, 2);
        assert_eq!(seen.last_used, at(999_000));
        assert_eq!(seen.generated_at, NOW);
        let besides = Besides { needs_migration: 7, rejected: 2, key_requests: 3 };
        let counted = Gathering::new(4, NOW).finish(besides);
        assert_eq!((counted.needs_migration, counted.rejected, counted.key_requests), (7, 2, 3));
        let none = stats(&[], Lapsed::Count);
        assert_eq!((none.keys.total(), none.last_used, none.next_due_at, none.retry_after()), (0, None, None, None));
    }

    #[test]
    fn the_next_key_is_due_when_the_first_rest_with_uses_left_ends() {
        let resting = |until, count, open| Key { resting_until: at(until), ..key(count, open) };
        let rows = [
            // key, due in a count pool, due in a refund pool
            (key(0, 0), None, None),
            (resting(1_090_000, 0, 0), at(1_090_000), at(1_090_000)),
            (resting(1_090_000, 3, 0), at(1_090_000), at(1_090_000)),
            (resting(1_090_000, 4, 0), None, None),
            (resting(1_090_000, 3, 1), None, at(1_500_000)),
            (resting(1_900_000, 3, 1), None, at(1_900_000)),
            (resting(1_900_000, 2, 1), at(1_900_000), at(1_900_000)),
            (key(3, 1), None, at(1_500_000)),
            (key(4, 1), None, None),
            (Key { is_active: false, ..resting(1_090_000, 0, 0) }, None, None),
        ];
        for (key, count, refund) in rows {
            let keys = [key];
            assert_eq!(stats(&keys, Lapsed::Count).next_due_at, count, "{keys:?}");
            assert_eq!(stats(&keys, Lapsed::Refund).next_due_at, refund, "{keys:?}");
        }
        let both = [resting(1_090_000, 0, 0), resting(1_050_000, 0, 0), resting(1_070_000, 0, 0)];
        assert_eq!(stats(&both, Lapsed::Count).next_due_at, at(1_050_000));
    }

    #[test]
    fn retry_after_is_computed_from_what_is_due() {
        let resting = |until| Key { resting_until: at(until), ..key(0, 0) };
        let seconds = |keys: &[Key]| stats(keys, Lapsed::Count).retry_after().map(|wait| wait.as_millis());
        assert_eq!(seconds(&[resting(1_090_000)]), Some(90_000));
        assert_eq!(seconds(&[resting(1_000_001)]), Some(1_000));
        assert_eq!(seconds(&[resting(9_000_000)]), Some(3_600_000));
        assert_eq!(seconds(&[key(3, 1)]), Some(5_000));
        assert_eq!(seconds(&[key(3, 1), resting(1_090_000)]), Some(90_000));
        assert_eq!(seconds(&[Key { resting_until: at(1_090_000), ..key(3, 1) }]), Some(5_000));
        assert_eq!(seconds(&[key(4, 0), key(4, 1), Key { is_active: false, ..key(0, 0) }]), None);
    }

    proptest! {
        #[test]
        fn groups_of_groups_give_the_same_stats(keys in prop::collection::vec((0u64..7, 0u64..4, any::<bool>(), 999_000i64..1_001_000), 0..20)) {
            let keys: Vec<Key> = keys.into_iter()
                .map(|(count, open, active, rest)| Key { is_active: active, resting_until: at(rest), last_used: at(rest), ..key(count, open) })
                .collect();
            let policy = policy(Lapsed::Refund);
            let single: Vec<Group> = keys.iter().map(|key| Group::of(key, &policy, 4, NOW)).collect();
            let mut merged: Vec<Group> = Vec::new();
            for group in &single {
                match merged.iter_mut().find(|other| (other.state, other.usage_count) == (group.state, group.usage_count)) {
                    Some(other) => {
                        other.keys += group.keys;
                        other.counted += group.counted;
                        other.leased += group.leased;
                        other.left += group.left;
                        other.last_used = other.last_used.max(group.last_used);
                        other.due_at = earliest(other.due_at, group.due_at);
                    }
                    None => merged.push(group.clone()),
                }
            }
            let one = gather(single);
            prop_assert_eq!(&one, &gather(merged));
            prop_assert_eq!(one.keys.total(), keys.len() as u64);
        }
    }
}
