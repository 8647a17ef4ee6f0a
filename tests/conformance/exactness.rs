//! Exactness in a crowd: usage_count + open leases never exceeds the uses per key, over several instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use keylend::domain::{Outcome, Policy, Report};
use keylend::store::{LeaseAnswer, Store};
use tokio::task::JoinSet;

use crate::support::{Planted, TestStore, in_order, lease_id, least_recently_used, request};

on_both_stores! {
    the_last_use_of_the_last_key_goes_to_one_of_a_hundred_callers,
    the_last_use_of_the_last_key_is_taken_by_one_of_a_hundred_callers,
    sixty_four_callers_lease_each_use_once_until_all_are_spent,
    sixty_four_callers_take_each_use_once_until_all_are_spent,
    uses_given_back_in_a_crowd_are_lent_again_and_none_twice,
    a_crowd_that_only_finds_spreads_over_the_keys,
}

async fn instances(t: &TestStore) -> [Arc<dyn Store>; 2] {
    [t.store.clone(), t.another_instance().await]
}

async fn the_last_use_of_the_last_key_goes_to_one_of_a_hundred_callers(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys = [Planted::counted(4), Planted { leases: vec![1, 1], ..Planted::counted(1) }, Planted::counted(5)];
        let pool = t.pool(policy, &keys).await;
        let instances = instances(t).await;
        let callers = (0..100).map(|n| {
            let (store, pool) = (instances[n % 2].clone(), pool.clone());
            async move { store.lease(&pool, &request()).await.unwrap() }
        });
        let leased: Vec<_> = JoinSet::from_iter(callers)
            .join_all()
            .await
            .into_iter()
            .filter_map(|answer| match answer {
                LeaseAnswer::New(leased) => Some(leased),
                LeaseAnswer::Same(leased) => panic!("nobody asked for the same: {leased:?}"),
                LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => None,
            })
            .collect();
        assert_eq!(leased.len(), 1);
        assert_eq!(leased[0].id, keys[1].id);
        let (count, open) = t.uses(&pool, keys[1].id).await;
        assert_eq!(count + open, 4);
    }
}

async fn the_last_use_of_the_last_key_is_taken_by_one_of_a_hundred_callers(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys = [Planted::counted(4), Planted { leases: vec![1], ..Planted::counted(2) }];
        let pool = t.pool(policy, &keys).await;
        let instances = instances(t).await;
        let callers = (0..100).map(|n| {
            let (store, pool) = (instances[n % 2].clone(), pool.clone());
            async move { store.take(&pool, 1 + n as u32 % 3).await.unwrap() }
        });
        let taken: Vec<_> = JoinSet::from_iter(callers).join_all().await.into_iter().flatten().collect();
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].id, taken[0].uses, taken[0].usage_count), (keys[1].id, 1, 3));
        assert_eq!(t.uses(&pool, keys[1].id).await, (3, 1));
    }
}

/// Goes on until every use of the pool is counted; a look that came back empty is no proof that all are.
async fn until_all_are_counted(store: &dyn Store, pool: &Policy, uses: u64) -> bool {
    store.stats(pool, pool.uses_per_key).await.unwrap().counted >= uses
}

async fn sixty_four_callers_lease_each_use_once_until_all_are_spent(t: &TestStore) {
    let keys: Vec<Planted> = (0..10).map(|_| Planted::new()).collect();
    let pool = t.pool(least_recently_used(4), &keys).await;
    let instances = instances(t).await;
    let callers = (0..64).map(|n| {
        let (store, pool) = (instances[n % 2].clone(), pool.clone());
        async move {
            let mut leases = Vec::new();
            loop {
                match store.lease(&pool, &request()).await.unwrap() {
                    LeaseAnswer::New(leased) => {
                        let report = Report::new(Outcome::Used, None).unwrap();
                        let settled = store.report(&pool, &lease_id(&pool, &leased), report).await.unwrap();
                        assert!(settled.is_some(), "nobody else settles this lease");
                        leases.push(leased.id);
                    }
                    LeaseAnswer::Same(leased) => panic!("nobody asked for the same: {leased:?}"),
                    LeaseAnswer::NoUsableKey if until_all_are_counted(&*store, &pool, 40).await => return leases,
                    LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => {}
                }
            }
        }
    });
    let mut per_key: BTreeMap<_, u64> = BTreeMap::new();
    for id in JoinSet::from_iter(callers).join_all().await.into_iter().flatten() {
        *per_key.entry(id).or_default() += 1;
    }
    let expected: BTreeMap<_, u64> = keys.iter().map(|key| (key.id, 4)).collect();
    assert_eq!(per_key, expected);
    for key in keys {
        assert_eq!(t.uses(&pool, key.id).await, (4, 0));
    }
    t.assert_no_usable_key(&pool).await;
}

async fn sixty_four_callers_take_each_use_once_until_all_are_spent(t: &TestStore) {
    let keys: Vec<Planted> = (0..4).map(|n| Planted { order: Some(n), ..Planted::counted(n) }).collect();
    let pool = t.pool(in_order(30), &keys).await;
    let instances = instances(t).await;
    let uses = 4 * 30 - 6;
    let callers = (0..64).map(|n| {
        let (store, pool) = (instances[n % 2].clone(), pool.clone());
        async move {
            let mut taken = 0;
            loop {
                match store.take(&pool, 1 + n as u32 % 2).await.unwrap() {
                    Some(some) => taken += u64::from(some.uses),
                    None if until_all_are_counted(&*store, &pool, 120).await => return taken,
                    None => {}
                }
            }
        }
    });
    assert_eq!(JoinSet::from_iter(callers).join_all().await.into_iter().sum::<u64>(), uses);
    for key in keys {
        assert_eq!(t.uses(&pool, key.id).await, (30, 0));
    }
}

async fn uses_given_back_in_a_crowd_are_lent_again_and_none_twice(t: &TestStore) {
    let keys: Vec<Planted> = (0..3).map(|_| Planted::new()).collect();
    let pool = t.pool(least_recently_used(4), &keys).await;
    let instances = instances(t).await;
    let callers = (0..16).map(|n| {
        let (store, pool) = (instances[n % 2].clone(), pool.clone());
        async move {
            let (mut used, mut round) = (0, n);
            loop {
                let asked = request();
                match store.lease(&pool, &asked).await.unwrap() {
                    LeaseAnswer::New(leased) => {
                        round += 1;
                        if round % 3 == 0 {
                            assert!(store.give_back(&pool, &asked).await.unwrap());
                            continue;
                        }
                        let outcome = if round % 3 == 1 { Outcome::Unused } else { Outcome::Used };
                        let report = Report::new(outcome, None).unwrap();
                        let settled = store.report(&pool, &lease_id(&pool, &leased), report).await.unwrap().unwrap();
                        assert!(settled.usage_count.whole().unwrap() <= 4, "{settled:?}");
                        used += u64::from(outcome == Outcome::Used);
                    }
                    LeaseAnswer::Same(leased) => panic!("nobody asked for the same: {leased:?}"),
                    LeaseAnswer::NoUsableKey if until_all_are_counted(&*store, &pool, 12).await => return used,
                    LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => {}
                }
            }
        }
    });
    assert_eq!(JoinSet::from_iter(callers).join_all().await.into_iter().sum::<u64>(), 12);
    for key in keys {
        assert_eq!(t.uses(&pool, key.id).await, (4, 0));
    }
}

async fn a_crowd_that_only_finds_spreads_over_the_keys(t: &TestStore) {
    let keys: Vec<Planted> = (0..40).map(|_| Planted::new()).collect();
    let pool = t.pool(least_recently_used(4), &keys).await;
    let callers = (0..40).map(|_| {
        let (store, pool) = (t.store.clone(), pool.clone());
        async move { store.find_usable_key(&pool, 4).await.unwrap() }
    });
    let found = JoinSet::from_iter(callers).join_all().await;
    // One that had to wait for another's write may come back empty on a server; it never gets that one's key.
    let mut ids: Vec<_> = found.into_iter().flatten().map(|found| found.id).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "a key was found twice while others were not found at all");
    assert!(all > 0);
}
