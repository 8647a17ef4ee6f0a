//! lease: one use of the key that goes first is reserved, and never one more than it has.

use std::time::Duration;

use keylend::domain::{Lapsed, Outcome, Policy, State};
use keylend::store::LeaseAnswer;

use crate::support::{
    HOUR, Planted, TestStore, assert_between, in_order, least_recently_used, request, request_for, secret,
};

on_both_stores! {
    a_lease_reserves_one_use_and_stamps_the_key,
    leases_go_to_the_key_unused_for_longest,
    in_order_leases_go_to_the_first_key_until_nothing_is_left_of_it,
    a_key_is_leased_until_its_uses_are_out_and_then_nothing_is,
    lapsed_leases_keep_their_uses_from_others_until_they_are_settled,
    a_lease_may_settle_what_lapsed_but_never_gives_a_use_twice,
    a_count_taken_by_others_leaves_fewer_uses_to_lease,
    a_key_of_one_use_is_leased_once,
    a_lease_lasts_as_long_as_it_was_asked_to,
    texts_from_outside_are_kept_as_they_are,
}

async fn a_lease_reserves_one_use_and_stamps_the_key(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let planted = Planted { last_used: Some(1), ..Planted::counted(2) };
        let pool = t.pool(policy, std::slice::from_ref(&planted)).await;
        let asked = request();
        let before = t.now(&pool).await;
        let leased = t.lease_as(&pool, &asked).await;
        let after = t.now(&pool).await;
        assert_eq!((leased.entry, leased.id, leased.usage_count), (asked.entry, planted.id, 2));
        assert_eq!(leased.secret.expose(), planted.secret);
        let stored = t.key(&pool, planted.id).await;
        assert_eq!(t.uses(&pool, planted.id).await, (2, 1));
        let stamped = stored.last_used.unwrap();
        assert_between(before, stamped, after);
        assert_eq!(leased.expires_at, stamped.plus(asked.ttl));
        assert_eq!(stored.first_lease_ends_at, Some(leased.expires_at));
        assert_eq!((stored.is_active, stored.resting_until), (true, None));
    }
}

async fn leases_go_to_the_key_unused_for_longest(t: &TestStore) {
    let mut keys: Vec<Planted> = [Some(70), None, Some(20), Some(20), Some(90), None]
        .into_iter()
        .enumerate()
        .map(|(n, last_used)| Planted { last_used, ..Planted::counted(3 - n as i64 % 4) })
        .rev()
        .collect();
    let pool = t.pool(least_recently_used(4), &keys).await;
    keys.sort_by_key(|key| (key.last_used, key.id));
    for key in keys {
        assert_eq!(t.lease(&pool).await.id, key.id, "{key:?}");
    }
}

async fn in_order_leases_go_to_the_first_key_until_nothing_is_left_of_it(t: &TestStore) {
    let keys: Vec<Planted> = (0..3).map(|n| Planted { order: Some(n), ..Planted::new() }).collect();
    let pool = t.pool(in_order(2), &keys).await;
    for n in [0, 0, 1, 1, 2, 2] {
        assert_eq!(t.lease(&pool).await.id, keys[n].id);
    }
    t.assert_no_usable_key(&pool).await;
}

async fn a_key_is_leased_until_its_uses_are_out_and_then_nothing_is(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let key = Planted::counted(1);
        let pool = t.pool(policy, std::slice::from_ref(&key)).await;
        let mut leases = Vec::new();
        for open in 1..=3 {
            leases.push(t.lease(&pool).await);
            assert_eq!(t.uses(&pool, key.id).await, (1, open));
        }
        t.assert_no_usable_key(&pool).await;
        // What is reported as used stays used; what was not used can be leased again.
        assert!(t.report(&pool, &leases[0], Outcome::Used).await.is_some());
        t.assert_no_usable_key(&pool).await;
        let settled = t.report(&pool, &leases[1], Outcome::Unused).await.unwrap();
        assert_eq!(settled.state, State::Usable);
        assert_eq!(t.lease(&pool).await.usage_count, 2);
        t.assert_no_usable_key(&pool).await;
        assert_eq!(t.uses(&pool, key.id).await, (2, 2));
    }
}

async fn lapsed_leases_keep_their_uses_from_others_until_they_are_settled(t: &TestStore) {
    for lapsed in [Lapsed::Count, Lapsed::Refund] {
        for policy in [least_recently_used(4), in_order(4)] {
            let key = Planted::counted(1);
            let pool = Policy { collection: format!("keys_{}", key.id), lapsed, ..policy };
            let pool = t.pool(pool, std::slice::from_ref(&key)).await;
            for _ in 0..3 {
                t.lease(&pool).await;
            }
            t.let_leases_lapse(&pool).await;
            t.assert_no_usable_key(&pool).await;
            assert_eq!(t.uses(&pool, key.id).await, (1, 3));
        }
    }
}

async fn a_lease_may_settle_what_lapsed_but_never_gives_a_use_twice(t: &TestStore) {
    for (lapsed, left) in [(Lapsed::Count, 0), (Lapsed::Refund, 2)] {
        let key = Planted::counted(1);
        let pool = Policy { collection: format!("keys_{}", key.id), lapsed, ..least_recently_used(4) };
        let pool = t.pool(pool, std::slice::from_ref(&key)).await;
        t.lease(&pool).await;
        t.lease(&pool).await;
        t.let_leases_lapse(&pool).await;
        // One use is left; that lease is given, and the next one not before what lapsed is settled.
        let leased = t.lease(&pool).await;
        assert!(leased.usage_count == 1 || lapsed == Lapsed::Count, "{leased:?}");
        if lapsed == Lapsed::Count {
            t.assert_no_usable_key(&pool).await;
        }
        t.store.sweep(&pool).await.unwrap();
        assert_eq!(t.uses(&pool, key.id).await, (3 - left, 1), "{lapsed:?}");
        assert!(t.report(&pool, &leased, Outcome::Used).await.is_some());
        assert_eq!(t.uses(&pool, key.id).await, (4 - left, 0), "{lapsed:?}");
    }
}

async fn a_count_taken_by_others_leaves_fewer_uses_to_lease(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    t.lease(&pool).await;
    for _ in 0..3 {
        t.store.increment_usage(&pool, &keylend::domain::KeyRef::Id(key.id)).await.unwrap();
    }
    t.assert_no_usable_key(&pool).await;
    assert_eq!(t.uses(&pool, key.id).await, (3, 1));
}

async fn a_key_of_one_use_is_leased_once(t: &TestStore) {
    let keys = [Planted::new(), Planted::counted(1), Planted::new()];
    let pool = t.pool(least_recently_used(1), &keys).await;
    let ids = [t.lease(&pool).await.id, t.lease(&pool).await.id];
    assert_eq!(ids, [keys[0].id, keys[2].id]);
    t.assert_no_usable_key(&pool).await;
}

async fn a_lease_lasts_as_long_as_it_was_asked_to(t: &TestStore) {
    let pool = t.pool(least_recently_used(100), &[Planted::new()]).await;
    for ttl in [Duration::from_millis(70), Duration::from_secs(1), Duration::from_secs(3600)] {
        let before = t.now(&pool).await;
        let leased = t.lease_as(&pool, &request_for(ttl)).await;
        assert_between(before.plus(ttl), leased.expires_at, t.now(&pool).await.plus(ttl));
    }
    assert!(i64::from(pool.uses_per_key) < HOUR);
}

async fn texts_from_outside_are_kept_as_they_are(t: &TestStore) {
    let odd = ["$$NOW", "$api_key", "{\"$gt\":\"\"}", "';DROP/**/TABLE/**/leases;--", "$literal"];
    let pool = t.pool(least_recently_used(100), &[]).await;
    t.add(&pool, &odd.map(secret)).await;
    for by in odd {
        let mut asked = request();
        asked.by = by.to_owned();
        let leased = t.lease_as(&pool, &asked).await;
        assert!(odd.contains(&leased.secret.expose()));
        assert_eq!(t.leased_by(&pool, &leased).await, by);
        let again = t.store.lease(&pool, &request()).await.unwrap();
        assert!(matches!(again, LeaseAnswer::New(_)));
    }
}
