//! `domain::state` is the one truth: what the stores lend and count is held to it, over every combination of what a
//! key can be.

use std::collections::{BTreeMap, BTreeSet};

use keylend::domain::state::state;
use keylend::domain::stats::{Besides, Gathering, Group};
use keylend::domain::{Key, KeyId, Lapsed, Policy, PoolStats, State, Timestamp};
use keylend::store::{LeaseAnswer, Page};

use crate::support::{HOUR, Planted, TestStore, in_order, least_recently_used, request};

on_both_stores! {
    exactly_the_keys_in_state_usable_are_found,
    exactly_what_is_left_of_the_usable_keys_can_be_leased,
    exactly_what_is_left_of_the_usable_keys_can_be_taken,
    a_list_of_one_state_is_what_the_domain_has_in_it,
    stats_are_what_the_domain_gathers_from_the_list,
    stats_of_an_empty_pool_are_all_zero,
}

/// The uses per key that are tried: below, among and above the counts and the leases of [`every_kind`].
const USES: [u32; 5] = [1, 2, 4, 6, 300];

/// One key of every kind: each count with each set of open leases, each rest, and both positions of the switch.
fn every_kind(now: i64) -> Vec<Planted> {
    let (past, later) = (now - HOUR, now + HOUR);
    let leases: [&[i64]; 6] = [&[], &[later], &[past], &[past, later], &[later, later + 60_000, past], &[past; 4]];
    let mut keys = Vec::new();
    for usage_count in [0, 1, 3, 4, 5, 9_007_199_254_740_992] {
        for leases in leases {
            for resting_until in [None, Some(past), Some(later)] {
                for is_active in [true, false] {
                    let leases = leases.to_vec();
                    let order = (keys.len() % 3 > 0).then_some(keys.len() as i64 * 31 % 100);
                    keys.push(Planted { leases, resting_until, is_active, order, ..Planted::counted(usage_count) });
                }
            }
        }
    }
    keys
}

async fn planted(t: &TestStore, policy: Policy) -> Policy {
    let pool = t.pool(policy, &[]).await;
    let keys = every_kind(t.now(&pool).await.as_millis());
    assert_eq!(keys.len(), 6 * 6 * 3 * 2);
    t.plant(&pool, &keys).await;
    pool
}

/// What is left of each usable key, by the domain.
async fn usable(t: &TestStore, pool: &Policy, uses_per_key: u32) -> BTreeMap<KeyId, u64> {
    let all = t.all(pool).await;
    let usable = all.value.iter().filter(|key| state(key, uses_per_key, all.now) == State::Usable);
    usable.map(|key| (key.id, key.left(uses_per_key))).collect()
}

async fn exactly_the_keys_in_state_usable_are_found(t: &TestStore) {
    let pool = planted(t, least_recently_used(4)).await;
    for uses in USES {
        t.forget_use(&pool).await;
        let expected = usable(t, &pool, uses).await;
        assert!(!expected.is_empty());
        let mut found = BTreeSet::new();
        for _ in 0..expected.len() {
            let first = t.store.peek_usable_key(&pool, uses).await.unwrap().unwrap().value.id;
            assert_eq!(t.find(&pool, uses).await, first);
            assert!(expected.contains_key(&first), "{:?}", t.key(&pool, first).await);
            assert!(found.insert(first), "a key was found again before all were");
        }
        // Any other key, never used as it is, would go before those that were just found.
        assert!(found.contains(&t.find(&pool, uses).await), "a key was found that is not usable");
    }
}

async fn exactly_what_is_left_of_the_usable_keys_can_be_leased(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(2)] {
        let pool = planted(t, policy).await;
        let mut left = usable(t, &pool, pool.uses_per_key).await;
        let before = t.all(&pool).await.value;
        while let LeaseAnswer::New(leased) = t.store.lease(&pool, &request()).await.unwrap() {
            let of_key = left.get_mut(&leased.id).expect("only usable keys are leased");
            *of_key = of_key.checked_sub(1).expect("no more than what was left is leased");
        }
        assert!(left.values().all(|left| *left == 0), "{left:?}");
        let after = t.all(&pool).await;
        for (before, key) in before.iter().zip(&after.value) {
            assert_ne!(state(key, pool.uses_per_key, after.now), State::Usable);
            if left.contains_key(&key.id) {
                assert_eq!(uses(key), u64::from(pool.uses_per_key));
            } else {
                assert_eq!(format!("{before:?}"), format!("{key:?}"), "a key that is not usable was changed");
            }
        }
    }
}

async fn exactly_what_is_left_of_the_usable_keys_can_be_taken(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(6)] {
        let pool = planted(t, policy).await;
        let mut left = usable(t, &pool, pool.uses_per_key).await;
        let before = t.all(&pool).await.value;
        while let Some(taken) = t.store.take(&pool, 1000).await.unwrap() {
            assert_eq!(left.remove(&taken.id), Some(u64::from(taken.uses)), "{taken:?}");
        }
        assert!(left.is_empty(), "{left:?}");
        for (before, after) in before.iter().zip(t.all(&pool).await.value) {
            if before.last_used == after.last_used {
                assert_eq!(format!("{before:?}"), format!("{after:?}"));
            } else {
                assert_eq!(uses(&after), u64::from(pool.uses_per_key));
                assert_eq!(after.open_leases, before.open_leases);
            }
        }
    }
}

async fn a_list_of_one_state_is_what_the_domain_has_in_it(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(6)] {
        let pool = planted(t, policy).await;
        for uses_per_key in USES {
            let pool = Policy { uses_per_key, ..pool.clone() };
            let all = t.all(&pool).await;
            let mut seen = 0;
            for wanted in State::ALL {
                let listed = t.store.list(&pool, Page { after: None, limit: 1000, state: Some(wanted) }).await.unwrap();
                let listed: Vec<KeyId> = listed.value.iter().map(|record| record.key.id).collect();
                let expected = all.value.iter().filter(|key| state(key, uses_per_key, all.now) == wanted);
                assert_eq!(listed, expected.map(|key| key.id).collect::<Vec<_>>(), "{wanted:?}, {uses_per_key} uses");
                seen += listed.len();
            }
            assert_eq!(seen, all.value.len());
        }
    }
}

async fn stats_are_what_the_domain_gathers_from_the_list(t: &TestStore) {
    let pool = planted(t, least_recently_used(4)).await;
    let now = t.now(&pool).await.as_millis();
    // Some that were used, the latest of them on a key that is no use to anybody; some that are due sooner.
    let more = [
        Planted { last_used: Some(now - 5), ..Planted::counted(7) },
        Planted { last_used: Some(now - 3), is_active: false, ..Planted::new() },
        Planted { resting_until: Some(now + HOUR / 2), leases: vec![now + HOUR / 3], ..Planted::counted(3) },
        Planted { leases: vec![now + HOUR / 4, now - 9], ..Planted::counted(2) },
        Planted { resting_until: Some(now + HOUR - 9), ..Planted::counted(250) },
    ];
    t.plant(&pool, &more).await;
    for lapsed in [Lapsed::Count, Lapsed::Refund] {
        let pool = Policy { lapsed, ..pool.clone() };
        for uses in USES {
            let seen = t.store.stats(&pool, uses).await.unwrap();
            let expected = gathered(&t.all(&pool).await.value, &pool, uses, seen.generated_at);
            assert_eq!(seen, expected, "{lapsed:?}, {uses} uses per key");
            assert_eq!(seen.keys.total(), 216 + 5);
        }
    }
}

async fn stats_of_an_empty_pool_are_all_zero(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(100)] {
        let pool = t.pool(policy, &[]).await;
        let seen = t.store.stats(&pool, pool.uses_per_key).await.unwrap();
        assert_eq!(seen, gathered(&[], &pool, pool.uses_per_key, seen.generated_at));
    }
}

fn gathered(keys: &[Key], pool: &Policy, uses: u32, now: Timestamp) -> PoolStats {
    let mut gathering = Gathering::new(uses, now);
    for key in keys {
        gathering.add(&Group::of(key, pool, uses, now));
    }
    gathering.finish(Besides::default())
}

fn uses(key: &Key) -> u64 {
    key.usage_count.whole().unwrap() + key.open_leases.unwrap()
}
