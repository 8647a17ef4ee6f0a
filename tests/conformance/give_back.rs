//! give_back: a lease that could not be answered ends as unused, by its request alone.

use keylend::domain::{Lapsed, Outcome, Policy};
use keylend::store::LeaseAnswer;

use crate::support::{Planted, TestStore, in_order, least_recently_used, repeatable, request};

on_both_stores! {
    a_lease_is_given_back_once_and_counts_nothing,
    what_was_never_leased_cannot_be_given_back,
    a_settled_or_lapsed_lease_cannot_be_given_back,
    a_repeatable_request_can_be_given_back_and_then_leases_anew,
    a_lease_that_answered_a_repeat_has_a_holder_and_is_not_given_back,
}

async fn a_lease_is_given_back_once_and_counts_nothing(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let key = Planted::counted(1);
        let pool = t.pool(policy, std::slice::from_ref(&key)).await;
        let (first, second) = (request(), request());
        t.lease_as(&pool, &first).await;
        t.lease_as(&pool, &second).await;
        let before = t.key(&pool, key.id).await;
        assert!(t.store.give_back(&pool, &first).await.unwrap());
        assert!(!t.store.give_back(&pool, &first).await.unwrap());
        assert_eq!(t.uses(&pool, key.id).await, (1, 1));
        let after = t.key(&pool, key.id).await;
        assert_eq!((after.last_used, after.is_active), (before.last_used, true));
        assert!(t.store.give_back(&pool, &second).await.unwrap());
        assert_eq!(t.uses(&pool, key.id).await, (1, 0));
    }
}

async fn what_was_never_leased_cannot_be_given_back(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    let elsewhere = t.pool(in_order(4), &[]).await;
    let leased = request();
    t.lease_as(&pool, &leased).await;
    assert!(!t.store.give_back(&pool, &request()).await.unwrap());
    assert!(!t.store.give_back(&elsewhere, &leased).await.unwrap());
    assert_eq!(t.uses(&pool, key.id).await, (0, 1));
}

async fn a_settled_or_lapsed_lease_cannot_be_given_back(t: &TestStore) {
    for lapsed in [Lapsed::Count, Lapsed::Refund] {
        let key = Planted::new();
        let pool = Policy { collection: format!("keys_{}", key.id), lapsed, ..least_recently_used(4) };
        let pool = t.pool(pool, std::slice::from_ref(&key)).await;
        let (reported, lapses) = (request(), request());
        let leased = t.lease_as(&pool, &reported).await;
        assert!(t.report(&pool, &leased, Outcome::Used).await.is_some());
        assert!(!t.store.give_back(&pool, &reported).await.unwrap());
        t.lease_as(&pool, &lapses).await;
        t.let_leases_lapse(&pool).await;
        assert!(!t.store.give_back(&pool, &lapses).await.unwrap());
        assert_eq!(t.uses(&pool, key.id).await, (1, 1));
        assert_eq!(t.store.sweep(&pool).await.unwrap(), 1);
        assert!(!t.store.give_back(&pool, &lapses).await.unwrap());
    }
}

async fn a_repeatable_request_can_be_given_back_and_then_leases_anew(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    let first = repeatable("app", &pool, "once");
    t.lease_as(&pool, &first).await;
    assert!(t.store.give_back(&pool, &first).await.unwrap());
    assert_eq!(t.uses(&pool, key.id).await, (0, 0));
    let again = repeatable("app", &pool, "once");
    assert_eq!(t.lease_as(&pool, &again).await.entry, again.entry);
}

async fn a_lease_that_answered_a_repeat_has_a_holder_and_is_not_given_back(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    let first = repeatable("app", &pool, "once");
    let leased = t.lease_as(&pool, &first).await;
    // The same again has an id of its own, under which there is no lease.
    let repeated = repeatable("app", &pool, "once");
    assert!(matches!(t.store.lease(&pool, &repeated).await.unwrap(), LeaseAnswer::Same(_)));
    assert!(!t.store.give_back(&pool, &repeated).await.unwrap());
    // Who asked first has left; who asked again holds the lease.
    assert!(!t.store.give_back(&pool, &first).await.unwrap());
    assert_eq!(t.uses(&pool, key.id).await, (0, 1));
    assert!(t.report(&pool, &leased, Outcome::Used).await.is_some());
    assert_eq!(t.uses(&pool, key.id).await, (1, 0));
}
