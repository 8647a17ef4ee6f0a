//! Idempotency-Keys: the same request has one lease while that is open, whichever instance it reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keylend::domain::{EntryId, KeyId, Lapsed, Outcome, Policy};
use keylend::store::{LeaseAnswer, LeaseRequest, LeasedKey};

use crate::support::{
    Planted, TestStore, eventually, in_order, lease_id, least_recently_used, name, repeatable, request,
};

on_both_stores! {
    the_same_request_gets_the_same_lease_while_it_is_open,
    another_lifetime_in_the_repeat_changes_nothing,
    a_request_is_repeated_on_a_pool_that_has_nothing_left,
    after_it_is_settled_the_same_request_gets_a_new_lease,
    after_it_has_lapsed_the_same_request_gets_a_new_lease,
    other_tokens_pools_and_texts_are_other_requests,
    fifty_of_the_same_at_once_get_one_lease,
    the_same_again_and_again_at_once_has_never_two_open_leases,
    a_step_for_many_finds_the_leases_of_those_who_asked_before,
    steps_for_many_on_several_instances_lease_once_for_each_request,
}

async fn same(t: &TestStore, pool: &Policy, request: &LeaseRequest) -> LeasedKey {
    match t.store.lease(pool, request).await.unwrap() {
        LeaseAnswer::Same(leased) => leased,
        other => panic!("not the same lease: {other:?}"),
    }
}

/// What each request of a step got: its key, its lease, and whether that is new.
fn got(answers: &[LeaseAnswer]) -> Vec<Option<(KeyId, EntryId, bool)>> {
    let one = |answer: &LeaseAnswer| match answer {
        LeaseAnswer::New(leased) => Some((leased.id, leased.entry, true)),
        LeaseAnswer::Same(leased) => Some((leased.id, leased.entry, false)),
        LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => None,
    };
    answers.iter().map(one).collect()
}

async fn a_step_for_many_finds_the_leases_of_those_who_asked_before(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys: Vec<Planted> = (0..6).map(|_| Planted::new()).collect();
        let pool = t.pool(policy, &keys).await;
        let before = t.lease_as(&pool, &repeatable("app", &pool, "before")).await;
        let lapsing = LeaseRequest { ttl: Duration::from_millis(1), ..repeatable("app", &pool, "lapsed") };
        let lapsed = t.lease_as(&pool, &lapsing).await;
        eventually("the lease lapses", async || (t.now(&pool).await > lapsed.expires_at).then_some(())).await;
        let step = || ["new", "before", "lapsed", "new", "other"].map(|text| repeatable("app", &pool, text));
        // A twin within the step, and one whose lease has lapsed, may have to go again.
        let mut last = BTreeMap::new();
        for _ in 0..3 {
            let asked: Vec<LeaseRequest> = step().into_iter().chain([request()]).collect();
            for (request, answer) in asked.iter().zip(got(&t.store.lease_all(&pool, &asked).await.unwrap())) {
                let Some((_, entry, is_new)) = answer else { continue };
                assert_eq!(is_new, entry == request.entry, "{answer:?}");
                if request.is_repeatable() {
                    let first = *last.entry(request.idem.as_str().to_owned()).or_insert(entry);
                    assert_eq!(first, entry, "one lease for each request");
                }
            }
        }
        let idem = |text| repeatable("app", &pool, text).idem.as_str().to_owned();
        assert_eq!(last.len(), 4);
        assert_eq!(last[&idem("before")], before.entry);
        assert_ne!(last[&idem("lapsed")], lapsed.entry);
        // Of the request without a key there is one lease for each time that it was asked.
        assert_eq!(t.store.stats(&pool, 4).await.unwrap().leased, 4 + 3);
        // Who asked first can no longer give back what a repeat was answered with.
        assert!(
            !t.store
                .give_back(&pool, &LeaseRequest { entry: before.entry, ..repeatable("app", &pool, "before") })
                .await
                .unwrap()
        );
    }
}

async fn steps_for_many_on_several_instances_lease_once_for_each_request(t: &TestStore) {
    for policy in [least_recently_used(8), in_order(8)] {
        let keys: Vec<Planted> = (0..16).map(|_| Planted::new()).collect();
        let pool = t.pool(policy, &keys).await;
        for round in 0..4 {
            let mut asking = tokio::task::JoinSet::new();
            for _ in 0..4 {
                let (store, pool) = (t.another_instance().await, pool.clone());
                asking.spawn(async move {
                    let asked: Vec<LeaseRequest> =
                        (0..8).map(|number| repeatable("app", &pool, &format!("{round} {number}"))).collect();
                    let mut leases = BTreeMap::new();
                    // Those who got none go again, as the pool lets them.
                    for _ in 0..100 {
                        let left: Vec<LeaseRequest> = asked
                            .iter()
                            .filter(|request| !leases.contains_key(request.idem.as_str()))
                            .cloned()
                            .collect();
                        if left.is_empty() {
                            break;
                        }
                        for (request, got) in left.iter().zip(got(&store.lease_all(&pool, &left).await.unwrap())) {
                            leases.extend(got.map(|(_, entry, _)| (request.idem.as_str().to_owned(), entry)));
                        }
                    }
                    leases
                });
            }
            let all: Vec<BTreeMap<String, EntryId>> = asking.join_all().await;
            assert!(all.iter().all(|leases| leases.len() == 8 && *leases == all[0]), "{all:?}");
            assert_eq!(t.store.stats(&pool, 8).await.unwrap().leased, 8 * (round + 1));
        }
    }
}

async fn the_same_request_gets_the_same_lease_while_it_is_open(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys = [Planted::counted(1), Planted::counted(2)];
        let pool = t.pool(policy, &keys).await;
        let first = t.lease_as(&pool, &repeatable("app", &pool, "job 1")).await;
        let stamped = t.key(&pool, first.id).await.last_used;
        for _ in 0..3 {
            let again = same(t, &pool, &repeatable("app", &pool, "job 1")).await;
            assert_eq!((again.entry, again.id, again.usage_count), (first.entry, first.id, first.usage_count));
            assert_eq!((again.secret.expose(), again.expires_at), (first.secret.expose(), first.expires_at));
        }
        assert_eq!(t.key(&pool, first.id).await.last_used, stamped, "a repeat stamps nothing");
        assert_eq!(t.store.stats(&pool, 4).await.unwrap().leased, 1);
    }
}

async fn another_lifetime_in_the_repeat_changes_nothing(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    let first = t.lease_as(&pool, &repeatable("app", &pool, "x")).await;
    for seconds in [1, 3600] {
        let longer = LeaseRequest { ttl: Duration::from_secs(seconds), ..repeatable("app", &pool, "x") };
        assert_eq!(same(t, &pool, &longer).await.expires_at, first.expires_at);
    }
    // What was renewed shows in the repeat.
    let ttl = Duration::from_secs(3000);
    let renewed = t.store.renew(&pool, &lease_id(&pool, &first), ttl).await.unwrap().unwrap();
    assert_eq!(same(t, &pool, &repeatable("app", &pool, "x")).await.expires_at, renewed);
}

async fn a_request_is_repeated_on_a_pool_that_has_nothing_left(t: &TestStore) {
    let pool = t.pool(least_recently_used(1), &[Planted::new()]).await;
    let first = t.lease_as(&pool, &repeatable("app", &pool, "x")).await;
    t.assert_no_usable_key(&pool).await;
    assert_eq!(same(t, &pool, &repeatable("app", &pool, "x")).await.entry, first.entry);
    t.switch_off(&pool, first.id, "operator").await;
    assert_eq!(same(t, &pool, &repeatable("app", &pool, "x")).await.entry, first.entry);
    let other = t.store.lease(&pool, &repeatable("app", &pool, "y")).await.unwrap();
    assert!(matches!(other, LeaseAnswer::NoUsableKey));
}

async fn after_it_is_settled_the_same_request_gets_a_new_lease(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    let mut entries = Vec::new();
    for outcome in [Outcome::Used, Outcome::Unused, Outcome::Used] {
        let asked = repeatable("app", &pool, "x");
        let leased = t.lease_as(&pool, &asked).await;
        assert_eq!(leased.entry, asked.entry);
        assert!(!entries.contains(&leased.entry));
        entries.push(leased.entry);
        assert!(t.report(&pool, &leased, outcome).await.is_some());
    }
    assert_eq!(t.uses(&pool, key.id).await, (2, 0));
}

async fn after_it_has_lapsed_the_same_request_gets_a_new_lease(t: &TestStore) {
    for (lapsed, count) in [(Lapsed::Count, 2), (Lapsed::Refund, 1)] {
        // On the same key, and on another one while the first cannot be had.
        for keys in [vec![Planted::counted(1)], vec![Planted::counted(1), Planted::new()]] {
            let pool = Policy { lapsed, collection: format!("keys_{}", keys[0].id), ..in_order(4) };
            let pool = t.pool(pool, &keys).await;
            let first = t.lease_as(&pool, &repeatable("app", &pool, "x")).await;
            assert_eq!(first.id, keys[0].id);
            t.let_leases_lapse(&pool).await;
            if keys.len() > 1 {
                t.switch_off(&pool, first.id, "operator").await;
            }
            let second = t.lease_as(&pool, &repeatable("app", &pool, "x")).await;
            assert_ne!(second.entry, first.entry);
            assert_eq!(second.id, keys.last().unwrap().id);
            t.store.sweep(&pool).await.unwrap();
            assert_eq!(t.uses(&pool, first.id).await.0, count, "{lapsed:?}");
            assert_eq!(same(t, &pool, &repeatable("app", &pool, "x")).await.entry, second.entry);
            assert_eq!(t.store.stats(&pool, 4).await.unwrap().leased, 1);
        }
    }
}

async fn other_tokens_pools_and_texts_are_other_requests(t: &TestStore) {
    let pool = t.pool(least_recently_used(9), &[Planted::new()]).await;
    let other = t.pool(Policy { name: name("other"), ..in_order(9) }, &[Planted::new()]).await;
    t.lease_as(&pool, &repeatable("app", &pool, "x")).await;
    t.lease_as(&pool, &repeatable("bot", &pool, "x")).await;
    t.lease_as(&pool, &repeatable("app", &pool, "X")).await;
    t.lease_as(&pool, &repeatable("app", &pool, "")).await;
    t.lease_as(&other, &repeatable("app", &other, "x")).await;
    // Two pools may even see the very same digest: each looks at its own leases.
    t.lease_as(&other, &repeatable("app", &pool, "x")).await;
    assert_eq!(t.store.stats(&pool, 9).await.unwrap().leased, 4);
    assert_eq!(t.store.stats(&other, 9).await.unwrap().leased, 2);
}

async fn fifty_of_the_same_at_once_get_one_lease(t: &TestStore) {
    for keys in [1, 20] {
        let keys: Vec<Planted> = (0..keys).map(|_| Planted::new()).collect();
        let pool = Policy { collection: format!("keys_{}", keys[0].id), ..least_recently_used(4) };
        let pool = t.pool(pool, &keys).await;
        let instances = [t.store.clone(), t.another_instance().await];
        let callers = (0..50).map(|n| {
            let (store, pool) = (instances[n % 2].clone(), pool.clone());
            tokio::spawn(async move { store.lease(&pool, &repeatable("app", &pool, "x")).await.unwrap() })
        });
        let (mut new, mut entries) = (0, BTreeSet::new());
        for caller in callers.collect::<Vec<_>>() {
            let leased = match caller.await.unwrap() {
                LeaseAnswer::New(leased) => {
                    new += 1;
                    leased
                }
                LeaseAnswer::Same(leased) => leased,
                LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => panic!("there were keys"),
            };
            entries.insert(leased.entry.to_string());
        }
        assert_eq!((new, entries.len()), (1, 1));
        assert_eq!(t.store.stats(&pool, 4).await.unwrap().leased, 1);
    }
}

async fn the_same_again_and_again_at_once_has_never_two_open_leases(t: &TestStore) {
    let keys: Vec<Planted> = (0..8).map(|_| Planted::new()).collect();
    let pool = t.pool(least_recently_used(100), &keys).await;
    // Each caller asks, reports where the lease is new, and asks again: every use is one new lease.
    let callers = (0..8).map(|_| {
        let (store, pool) = (t.store.clone(), pool.clone());
        tokio::spawn(async move {
            let mut used = 0;
            for _ in 0..6 {
                let LeaseAnswer::New(leased) = store.lease(&pool, &repeatable("app", &pool, "x")).await.unwrap() else {
                    continue;
                };
                let report = keylend::domain::Report::new(Outcome::Used, None).unwrap();
                used += u64::from(store.report(&pool, &lease_id(&pool, &leased), report).await.unwrap().is_some());
            }
            used
        })
    });
    let callers = callers.collect::<Vec<_>>();
    eventually("all callers are done", async || {
        assert!(t.store.stats(&pool, 100).await.unwrap().leased <= 1, "the same request has two open leases");
        callers.iter().all(|caller| caller.is_finished()).then_some(())
    })
    .await;
    let mut used = 0;
    for caller in callers {
        used += caller.await.unwrap();
    }
    let stats = t.store.stats(&pool, 100).await.unwrap();
    assert_eq!((stats.counted, stats.leased), (used, 0));
}
