//! take: pick and count in one step, as many uses as are left and no more.

use keylend::domain::{Outcome, UsageCount};

use crate::support::{HOUR, Planted, TestStore, assert_between, in_order, least_recently_used};

on_both_stores! {
    a_take_counts_and_stamps_and_leaves_no_lease,
    a_take_gets_as_many_uses_as_are_left,
    open_leases_keep_their_uses_from_takes_lapsed_or_not,
    in_order_takes_spend_one_key_after_another,
    least_recently_used_takes_go_round,
    a_key_that_rested_comes_first_again,
}

async fn a_take_counts_and_stamps_and_leaves_no_lease(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let key = Planted { last_used: Some(1), ..Planted::counted(1) };
        let pool = t.pool(policy, std::slice::from_ref(&key)).await;
        let before = t.now(&pool).await;
        let taken = t.store.take(&pool, 1).await.unwrap().unwrap();
        assert_eq!((taken.id, taken.usage_count, taken.uses), (key.id, 2, 1));
        assert_eq!(taken.secret.expose(), key.secret);
        let stored = t.key(&pool, key.id).await;
        assert_eq!((stored.usage_count, stored.open_leases), (UsageCount::Whole(2), Some(0)));
        assert_between(before, stored.last_used.unwrap(), t.now(&pool).await);
    }
}

async fn a_take_gets_as_many_uses_as_are_left(t: &TestStore) {
    for policy in [least_recently_used(100), in_order(100)] {
        let key = Planted::counted(10);
        let pool = t.pool(policy, std::slice::from_ref(&key)).await;
        for (asked, got, count) in [(3, 3, 13), (80, 80, 93), (1, 1, 94), (64, 6, 100)] {
            let taken = t.store.take(&pool, asked).await.unwrap().unwrap();
            assert_eq!((taken.uses, taken.usage_count), (got, count));
            assert_eq!(t.uses(&pool, key.id).await, (count, 0));
        }
        t.assert_no_usable_key(&pool).await;
    }
}

async fn open_leases_keep_their_uses_from_takes_lapsed_or_not(t: &TestStore) {
    for policy in [least_recently_used(6), in_order(6)] {
        let pool = t.pool(policy, &[]).await;
        let key = Planted { leases: vec![1, t.in_millis(&pool, HOUR).await], ..Planted::counted(1) };
        t.plant(&pool, std::slice::from_ref(&key)).await;
        let taken = t.store.take(&pool, 9).await.unwrap().unwrap();
        assert_eq!((taken.uses, taken.usage_count), (3, 4));
        assert_eq!(t.uses(&pool, key.id).await, (4, 2));
        t.assert_no_usable_key(&pool).await;
        assert_eq!(t.store.sweep(&pool).await.unwrap(), 1);
        assert_eq!(t.uses(&pool, key.id).await, (5, 1));
        t.assert_no_usable_key(&pool).await;
    }
}

async fn in_order_takes_spend_one_key_after_another(t: &TestStore) {
    let mut keys: Vec<Planted> = (0..3).map(|n| Planted { order: Some(9 - n), ..Planted::counted(n) }).collect();
    let pool = t.pool(in_order(4), &keys).await;
    keys.reverse();
    for (n, key) in keys.iter().enumerate() {
        for _ in 0..n + 2 {
            assert_eq!(t.store.take(&pool, 1).await.unwrap().unwrap().id, key.id);
        }
    }
    t.assert_no_usable_key(&pool).await;
}

async fn least_recently_used_takes_go_round(t: &TestStore) {
    let keys = [Planted::counted(1), Planted { last_used: Some(1), ..Planted::new() }];
    let pool = t.pool(least_recently_used(2), &keys).await;
    for n in [0, 1, 1] {
        assert_eq!(t.store.take(&pool, 1).await.unwrap().unwrap().id, keys[n].id);
    }
    t.assert_no_usable_key(&pool).await;
}

async fn a_key_that_rested_comes_first_again(t: &TestStore) {
    let keys: Vec<Planted> = (0..2).map(|n| Planted { order: Some(n), ..Planted::new() }).collect();
    let pool = t.pool(in_order(4), &keys).await;
    let leased = t.lease(&pool).await;
    assert_eq!(leased.id, keys[0].id);
    let rest = std::time::Duration::from_millis(150);
    t.report_with(&pool, &leased, Outcome::RateLimited, Some(rest)).await.unwrap();
    let next = t.find(&pool, 4).await;
    let rested = crate::support::eventually("the rest ends", async || {
        let found = t.find(&pool, 4).await;
        (found == keys[0].id).then_some(t.now(&pool).await)
    })
    .await;
    assert_eq!(next, keys[1].id);
    assert!(Some(rested) >= t.key(&pool, keys[0].id).await.resting_until);
}
