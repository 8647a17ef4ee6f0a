//! lease_all, find_all and report_used: many callers in one step, each as if it had come alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keylend::domain::{KeyId, LeaseId, Outcome, Policy, State};
use keylend::store::{LeaseAnswer, LeaseRequest, LeasedKey, Store};
use tokio::task::JoinSet;

use crate::support::{
    HOUR, Planted, TestStore, assert_between, in_order, lease_id, least_recently_used, request, request_for,
};

on_both_stores! {
    each_caller_gets_the_next_key_in_the_order_of_last_use,
    callers_of_an_in_order_pool_share_the_first_key_until_nothing_is_left_of_it,
    no_more_is_leased_than_there_is,
    only_usable_keys_are_leased,
    each_lease_lasts_as_long_as_it_was_asked_to_and_is_its_callers,
    what_lapsed_is_counted_before_more_is_leased,
    crowds_of_several_instances_lease_each_use_once,
    each_finder_gets_the_next_key_and_stamps_it,
    finders_of_an_in_order_pool_all_find_the_first_key,
    each_use_that_is_reported_is_counted_once,
    crowds_that_report_settle_each_lease_once,
}

fn requests(count: usize) -> Vec<LeaseRequest> {
    (0..count).map(|_| request()).collect()
}

async fn lease_all(t: &TestStore, pool: &Policy, requests: &[LeaseRequest]) -> Vec<Option<LeasedKey>> {
    let leased = new(t.store.lease_all(pool, requests).await.unwrap());
    assert_eq!(leased.len(), requests.len());
    for (request, leased) in requests.iter().zip(&leased) {
        assert!(leased.as_ref().is_none_or(|leased| leased.entry == request.entry));
    }
    leased
}

/// The new leases, each at its request's place.
fn new(answers: Vec<LeaseAnswer>) -> Vec<Option<LeasedKey>> {
    let new = |answer| match answer {
        LeaseAnswer::New(leased) => Some(leased),
        LeaseAnswer::Same(_) | LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => None,
    };
    answers.into_iter().map(new).collect()
}

fn ids(leased: &[Option<LeasedKey>]) -> Vec<KeyId> {
    leased.iter().flatten().map(|leased| leased.id).collect()
}

async fn each_caller_gets_the_next_key_in_the_order_of_last_use(t: &TestStore) {
    let mut keys: Vec<Planted> =
        (0..8).map(|n| Planted { last_used: Some(100 - n), ..Planted::counted(n % 4) }).collect();
    keys.push(Planted::new());
    let pool = t.pool(least_recently_used(4), &keys).await;
    keys.sort_by_key(|key| (key.last_used, key.id));
    let before = t.now(&pool).await;
    let leased = lease_all(t, &pool, &requests(6)).await;
    let after = t.now(&pool).await;
    let expected: BTreeSet<KeyId> = keys[..6].iter().map(|key| key.id).collect();
    assert_eq!((ids(&leased).into_iter().collect::<BTreeSet<_>>(), leased.len()), (expected, 6));
    for (leased, planted) in leased.iter().flatten().map(|leased| (leased, keys.iter().find(|key| key.id == leased.id)))
    {
        let planted = planted.unwrap();
        assert_eq!((leased.secret.expose(), leased.usage_count as i64), (&*planted.secret, planted.usage_count));
        let stored = t.key(&pool, leased.id).await;
        assert_between(before, stored.last_used.unwrap(), after);
        assert_eq!((t.uses(&pool, leased.id).await.1, stored.first_lease_ends_at), (1, Some(leased.expires_at)));
    }
    // Those who come next get the three that are left, whatever was read for the step before.
    let next = lease_all(t, &pool, &requests(3)).await;
    assert_eq!(ids(&next).into_iter().collect::<BTreeSet<_>>(), keys[6..].iter().map(|key| key.id).collect());
}

async fn callers_of_an_in_order_pool_share_the_first_key_until_nothing_is_left_of_it(t: &TestStore) {
    let keys: Vec<Planted> = (0..3).map(|n| Planted { order: Some(n), ..Planted::counted(n) }).collect();
    let pool = t.pool(in_order(4), &keys).await;
    let leased = lease_all(t, &pool, &requests(6)).await;
    let of = |n: usize| ids(&leased).into_iter().filter(|id| *id == keys[n].id).count();
    assert_eq!((of(0), of(1), of(2)), (4, 2, 0));
    let leased = lease_all(t, &pool, &requests(6)).await;
    assert_eq!(ids(&leased), [keys[1].id, keys[2].id, keys[2].id]);
    assert_eq!(t.uses(&pool, keys[1].id).await, (1, 3));
}

async fn no_more_is_leased_than_there_is(t: &TestStore) {
    let later = t.in_millis(&t.pool(least_recently_used(2), &[]).await, HOUR).await;
    for policy in [least_recently_used(2), in_order(2)] {
        let keys = [Planted::counted(1), Planted { leases: vec![later], ..Planted::new() }, Planted::counted(2)];
        let pool = t.pool(policy, &keys).await;
        let mut all = Vec::new();
        // Who gets none although there is one goes again.
        for _ in 0..3 {
            all.extend(ids(&lease_all(t, &pool, &requests(5)).await));
        }
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), [keys[0].id, keys[1].id].into());
        assert_eq!((t.uses(&pool, keys[0].id).await, t.uses(&pool, keys[1].id).await), ((1, 1), (0, 2)));
        assert_eq!(ids(&lease_all(t, &pool, &requests(2)).await), []);
    }
}

async fn only_usable_keys_are_leased(t: &TestStore) {
    let now = t.pool(least_recently_used(4), &[]).await;
    let later = t.in_millis(&now, HOUR).await;
    for policy in [least_recently_used(4), in_order(4)] {
        let keys = [
            Planted { is_active: false, ..Planted::new() },
            Planted { resting_until: Some(later), ..Planted::new() },
            Planted::counted(4),
            Planted { leases: vec![later, later], ..Planted::counted(2) },
            Planted { leases: vec![later], ..Planted::counted(2) },
        ];
        let pool = t.pool(policy, &keys).await;
        assert_eq!(ids(&lease_all(t, &pool, &requests(4)).await), [keys[4].id]);
    }
}

async fn each_lease_lasts_as_long_as_it_was_asked_to_and_is_its_callers(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[Planted::new(), Planted::new(), Planted::new()]).await;
        let texts = ["", "$api_key", "{\"$literal\": 1}"];
        let asked: Vec<LeaseRequest> = (1..)
            .zip(texts)
            .map(|(n, by)| LeaseRequest { by: by.to_owned(), ..request_for(Duration::from_secs(100 * n)) })
            .collect();
        let leased: Vec<LeasedKey> = lease_all(t, &pool, &asked).await.into_iter().map(Option::unwrap).collect();
        let first = leased.iter().map(|leased| leased.expires_at).min().unwrap();
        for (n, (leased, by)) in (0..).zip(leased.iter().zip(texts)) {
            assert_eq!(t.leased_by(&pool, leased).await, by);
            assert_eq!(leased.expires_at, first.plus(Duration::from_secs(100 * n)));
        }
    }
}

async fn what_lapsed_is_counted_before_more_is_leased(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys = [Planted { leases: vec![1, 1], ..Planted::new() }];
        let pool = t.pool(policy, &keys).await;
        let leased = ids(&lease_all(t, &pool, &requests(2)).await);
        assert!(!leased.is_empty());
        let more = ids(&lease_all(t, &pool, &requests(4)).await);
        let (count, open) = t.uses(&pool, keys[0].id).await;
        assert_eq!((count + open, leased.len() + more.len()), (4, 2));
    }
}

async fn crowds_of_several_instances_lease_each_use_once(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys: Vec<Planted> = (0..40).map(|n| Planted { order: Some(n), ..Planted::new() }).collect();
        let pool = t.pool(policy, &keys).await;
        let instances: [Arc<dyn Store>; 2] = [t.store.clone(), t.another_instance().await];
        let crowds = (0..6).map(|n| {
            let (store, pool) = (instances[n % 2].clone(), pool.clone());
            async move {
                let mut leased = Vec::new();
                while store.stats(&pool, 4).await.unwrap().leased < 160 {
                    leased.extend(ids(&new(store.lease_all(&pool, &requests(11)).await.unwrap())));
                }
                leased
            }
        });
        let mut of_key: BTreeMap<KeyId, u32> = BTreeMap::new();
        for id in JoinSet::from_iter(crowds).join_all().await.into_iter().flatten() {
            *of_key.entry(id).or_default() += 1;
        }
        assert_eq!((of_key.len(), of_key.values().all(|leases| *leases == 4)), (40, true), "{of_key:?}");
    }
}

async fn each_finder_gets_the_next_key_and_stamps_it(t: &TestStore) {
    let keys: Vec<Planted> = (1..=6).map(|n| Planted { last_used: Some(n), ..Planted::counted(n % 3) }).collect();
    let pool = t.pool(least_recently_used(4), &keys).await;
    let before = t.now(&pool).await;
    // With this limit only counts of 0 and 1 are taken.
    let found = t.store.find_all(&pool, 2, 3).await.unwrap();
    let after = t.now(&pool).await;
    let mut expected: Vec<KeyId> = [&keys[0], &keys[2], &keys[3]].map(|key| key.id).into();
    let mut got: Vec<KeyId> = found.iter().map(|found| found.id).collect();
    expected.sort();
    got.sort();
    assert_eq!(got, expected);
    for found in &found {
        assert_between(before, found.last_used, after);
        let stored = t.key(&pool, found.id).await;
        assert_eq!((stored.last_used, stored.open_leases), (Some(found.last_used), Some(0)));
        assert_eq!(stored.usage_count.whole(), Some(found.usage_count));
    }
    let all = t.store.find_all(&pool, 2, 10).await.unwrap();
    assert!(!all.is_empty() && all.iter().all(|found| found.usage_count < 2));
    assert!(t.store.find_all(&pool, 0, 2).await.unwrap().is_empty());
}

async fn finders_of_an_in_order_pool_all_find_the_first_key(t: &TestStore) {
    let keys: Vec<Planted> = (0..2).map(|n| Planted { order: Some(n), ..Planted::new() }).collect();
    let pool = t.pool(in_order(4), &keys).await;
    let found = t.store.find_all(&pool, 4, 3).await.unwrap();
    assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [keys[0].id; 3]);
}

async fn each_use_that_is_reported_is_counted_once(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[Planted::new(), Planted::counted(2)]).await;
        let leased: Vec<LeasedKey> = lease_all(t, &pool, &requests(4)).await.into_iter().flatten().collect();
        let mut more = t.lease(&pool).await;
        let lapsed = Planted { leases: vec![1], ..Planted::new() };
        t.plant(&pool, std::slice::from_ref(&lapsed)).await;
        assert!(t.report(&pool, &more, Outcome::Unused).await.is_some());
        more.entry = request().entry;
        let mut leases: Vec<LeaseId> = leased.iter().map(|leased| lease_id(&pool, leased)).collect();
        // One that is gone, and one that never was.
        leases.extend([&more, &LeasedKey { id: lapsed.id, ..more.clone() }].map(|leased| lease_id(&pool, leased)));
        let settled = t.store.report_used(&pool, &leases).await.unwrap();
        assert_eq!((settled.len(), settled.iter().flatten().count()), (leases.len(), leased.len()));
        for (settled, leased) in settled.iter().flatten().zip(&leased) {
            // Counted one after the other or all at once.
            let (stored, count) = (t.key(&pool, leased.id).await, settled.usage_count.whole().unwrap());
            assert_eq!((settled.id, stored.open_leases), (leased.id, Some(0)));
            assert!(leased.usage_count < count && count <= stored.usage_count.whole().unwrap(), "{settled:?}");
            assert_eq!(settled.state == State::Spent, count == 4, "{settled:?}");
        }
        let counted: u64 = t.all(&pool).await.value.iter().map(|key| key.usage_count.whole().unwrap()).sum();
        assert_eq!(counted, 2 + leased.len() as u64);
        let again = t.store.report_used(&pool, &leases).await.unwrap();
        assert!(again.iter().all(Option::is_none), "{again:?}");
    }
}

async fn crowds_that_report_settle_each_lease_once(t: &TestStore) {
    let keys: Vec<Planted> = (0..20).map(|_| Planted::new()).collect();
    let pool = t.pool(in_order(4), &keys).await;
    let leased = lease_all(t, &pool, &requests(80)).await;
    let leases: Vec<LeaseId> = leased.iter().flatten().map(|leased| lease_id(&pool, leased)).collect();
    assert_eq!(leases.len(), 80);
    let instances: [Arc<dyn Store>; 2] = [t.store.clone(), t.another_instance().await];
    let crowds = (0..6).map(|n| {
        let (store, pool, mut leases) = (instances[n % 2].clone(), pool.clone(), leases.clone());
        leases.rotate_left(n * 13);
        async move {
            let mut settled = 0;
            for leases in leases.chunks(16) {
                settled += store.report_used(&pool, leases).await.unwrap().iter().flatten().count();
            }
            settled
        }
    });
    assert_eq!(JoinSet::from_iter(crowds).join_all().await.iter().sum::<usize>(), 80);
    let stats = t.store.stats(&pool, 4).await.unwrap();
    assert_eq!((stats.counted, stats.leased), (80, 0));
}
