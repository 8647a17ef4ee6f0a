//! find_usable_key and peek_usable_key: which key goes first, and what a find leaves behind.

use std::collections::BTreeSet;

use crate::support::{HOUR, Planted, TestStore, assert_between, in_order, least_recently_used, name};
use keylend::domain::{KeyId, Picks, Policy, UsageCount};

on_both_stores! {
    the_key_unused_for_longest_is_found_first,
    a_key_never_used_is_found_before_all_others,
    a_found_key_is_stamped_and_neither_counted_nor_reserved,
    keys_are_found_up_to_the_uses_asked_for_whatever_the_pools_own_limit,
    open_leases_count_against_the_uses_asked_for_lapsed_or_not,
    a_key_is_found_again_while_no_other_is_usable,
    keys_that_are_disabled_resting_spent_or_leased_are_not_found,
    a_key_whose_rest_is_over_is_found,
    an_empty_pool_has_no_key,
    in_order_finds_the_same_first_key_until_it_cannot_be_used,
    in_order_goes_by_place_before_id_and_by_id_where_places_are_equal,
    peek_answers_what_find_would_and_leaves_it_as_it_is,
    pools_do_not_see_each_others_keys,
    preparing_again_changes_nothing,
}

async fn the_key_unused_for_longest_is_found_first(t: &TestStore) {
    let uses = 4;
    // Planted so that neither the id, nor the count, nor the order of planting gives the right order.
    let mut keys: Vec<Planted> = [50, 20, 90, 20, 70, 10, 30, 20]
        .into_iter()
        .enumerate()
        .map(|(n, minutes)| Planted { last_used: Some(minutes * 60_000), ..Planted::counted((n % 4) as i64) })
        .collect();
    keys.reverse();
    let pool = t.pool(least_recently_used(uses), &keys).await;
    keys.sort_by_key(|key| (key.last_used, key.id));
    for key in &keys {
        assert_eq!(t.find(&pool, uses).await, key.id, "{key:?}");
    }
}

async fn a_key_never_used_is_found_before_all_others(t: &TestStore) {
    let used = Planted { last_used: Some(-HOUR), ..Planted::new() };
    let fresh = [Planted::counted(3), Planted::new()];
    let pool = t.pool(least_recently_used(4), &[fresh[1].clone(), used.clone(), fresh[0].clone()]).await;
    for expected in [fresh[0].id, fresh[1].id, used.id] {
        assert_eq!(t.find(&pool, 4).await, expected);
    }
}

async fn a_found_key_is_stamped_and_neither_counted_nor_reserved(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let now = 1_000;
        let planted = Planted { last_used: Some(now), leases: vec![10 * HOUR], ..Planted::counted(2) };
        let pool = t.pool(policy, std::slice::from_ref(&planted)).await;
        let before = t.now(&pool).await;
        let found = t.store.find_usable_key(&pool, 4).await.unwrap().unwrap();
        let after = t.now(&pool).await;
        assert_eq!((found.id, found.usage_count), (planted.id, 2));
        assert_eq!(found.secret.expose(), planted.secret);
        assert_between(before, found.last_used, after);
        let stored = t.key(&pool, planted.id).await;
        assert_eq!(stored.last_used, Some(found.last_used));
        assert_eq!((stored.usage_count, stored.open_leases), (UsageCount::Whole(2), Some(1)));
    }
}

async fn keys_are_found_up_to_the_uses_asked_for_whatever_the_pools_own_limit(t: &TestStore) {
    let keys: Vec<Planted> = (0..=11).map(Planted::counted).chain([Planted::counted(250)]).collect();
    let pool = t.pool(least_recently_used(4), &keys).await;
    // The wire's max_uses is one less: 0 finds keys that were never counted, 3 is the pool's own limit.
    for uses in [1, 3, 4, 5, 10, 200, 201, 251, 10_001] {
        t.forget_use(&pool).await;
        let expected: BTreeSet<KeyId> =
            keys.iter().filter(|key| key.usage_count < i64::from(uses)).map(|key| key.id).collect();
        assert_eq!(all_found(t, &pool, uses, expected.len()).await, expected, "uses per key {uses}");
    }
    assert!(t.store.find_usable_key(&pool, 0).await.unwrap().is_none());
}

/// Finds `expected` keys and one more, which must be one of them again: any other that is usable would go first.
async fn all_found(t: &TestStore, pool: &Policy, uses: u32, expected: usize) -> BTreeSet<KeyId> {
    let mut found = BTreeSet::new();
    for _ in 0..expected {
        found.insert(t.find(pool, uses).await);
    }
    let again = t.find(pool, uses).await;
    assert!(found.contains(&again), "one more key was usable than expected");
    found
}

async fn open_leases_count_against_the_uses_asked_for_lapsed_or_not(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    let (past, later) = (t.in_millis(&pool, -HOUR).await, t.in_millis(&pool, HOUR).await);
    for leases in [vec![later, later], vec![past, later], vec![past, past]] {
        let key = Planted { leases, ..Planted::counted(1) };
        let pool =
            t.pool(Policy { collection: format!("keys_{}", key.id), ..pool.clone() }, std::slice::from_ref(&key)).await;
        assert!(t.store.find_usable_key(&pool, 3).await.unwrap().is_none(), "{key:?}");
        assert!(t.store.peek_usable_key(&pool, 3).await.unwrap().is_none(), "{key:?}");
        assert_eq!(t.find(&pool, 4).await, key.id);
        assert_eq!(t.uses(&pool, key.id).await, (1, 2));
    }
}

async fn a_key_is_found_again_while_no_other_is_usable(t: &TestStore) {
    let keys = [Planted::new(), Planted::counted(4)];
    let pool = t.pool(least_recently_used(4), &keys).await;
    for _ in 0..3 {
        assert_eq!(t.find(&pool, 4).await, keys[0].id);
    }
}

async fn keys_that_are_disabled_resting_spent_or_leased_are_not_found(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        let (past, later) = (t.in_millis(&pool, -HOUR).await, t.in_millis(&pool, HOUR).await);
        let keys = [
            Planted { is_active: false, ..Planted::new() },
            Planted { resting_until: Some(later), ..Planted::new() },
            Planted::counted(4),
            Planted::counted(9),
            Planted { leases: vec![later, past], ..Planted::counted(2) },
            Planted { leases: vec![past; 4], ..Planted::new() },
        ];
        t.plant(&pool, &keys).await;
        t.assert_no_usable_key(&pool).await;
    }
}

async fn a_key_whose_rest_is_over_is_found(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    let key = Planted { resting_until: Some(t.in_millis(&pool, -1).await), ..Planted::new() };
    t.plant(&pool, std::slice::from_ref(&key)).await;
    assert_eq!(t.find(&pool, 4).await, key.id);
    // The end of a rest needs nobody to do anything.
    let soon = Planted { resting_until: Some(t.in_millis(&pool, 150).await), ..Planted::new() };
    let pool = Policy { collection: "soon_api_keys".to_owned(), ..pool };
    let pool = t.pool(pool, std::slice::from_ref(&soon)).await;
    let found = crate::support::eventually("the rest ends", async || t.store.find_usable_key(&pool, 4).await.unwrap());
    assert!(found.await.last_used.as_millis() >= soon.resting_until.unwrap());
}

async fn an_empty_pool_has_no_key(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        t.assert_no_usable_key(&pool).await;
    }
}

async fn in_order_finds_the_same_first_key_until_it_cannot_be_used(t: &TestStore) {
    let keys: Vec<Planted> = (0..3).map(|n| Planted { order: Some(n), ..Planted::counted(2 - n) }).collect();
    let pool = t.pool(in_order(4), &keys).await;
    for _ in 0..3 {
        assert_eq!(t.find(&pool, 4).await, keys[0].id);
    }
    // Below its limit for others, the next key is the first for who asks for fewer uses.
    assert_eq!(t.find(&pool, 2).await, keys[1].id);
    assert_eq!(t.find(&pool, 1).await, keys[2].id);
    assert_eq!(t.find(&pool, 4).await, keys[0].id);
}

async fn in_order_goes_by_place_before_id_and_by_id_where_places_are_equal(t: &TestStore) {
    let mut keys: Vec<Planted> = [Some(7), Some(2), Some(2), None, Some(-3), Some(5)]
        .into_iter()
        .map(|order| Planted { order, usage_count: 3, ..Planted::new() })
        .collect();
    let pool = t.pool(in_order(4), &keys).await;
    // A key that another program put there has no place: it goes first, as a missing date does.
    keys.sort_by_key(|key| (key.order, key.id));
    for key in keys {
        let taken = t.store.take(&pool, 1).await.unwrap().unwrap();
        assert_eq!(taken.id, key.id, "{key:?}");
    }
}

async fn peek_answers_what_find_would_and_leaves_it_as_it_is(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys: Vec<Planted> =
            (0..4).map(|n| Planted { last_used: Some(9 - n), order: Some(9 - n), ..Planted::counted(n) }).collect();
        let pool = t.pool(policy, &keys).await;
        for uses in [4, 3, 1] {
            let peeked = t.store.peek_usable_key(&pool, uses).await.unwrap().unwrap();
            let again = t.store.peek_usable_key(&pool, uses).await.unwrap().unwrap();
            let stored = t.key(&pool, peeked.value.id).await;
            for key in [&again.value, &stored] {
                assert_eq!(
                    (key.id, key.last_used, key.usage_count),
                    (peeked.value.id, peeked.value.last_used, peeked.value.usage_count)
                );
            }
            assert_eq!(t.find(&pool, uses).await, peeked.value.id);
        }
    }
}

async fn pools_do_not_see_each_others_keys(t: &TestStore) {
    let mine = t.pool(least_recently_used(4), &[]).await;
    let other = t.pool(in_order(4), &[Planted::new()]).await;
    let third = t.pool(Policy::new(name("third"), Picks::LeastRecentlyUsed, 4), &[Planted::new()]).await;
    t.assert_no_usable_key(&mine).await;
    assert_ne!(t.find(&other, 4).await, t.find(&third, 4).await);
}

async fn preparing_again_changes_nothing(t: &TestStore) {
    let key = Planted { leases: vec![HOUR], last_used: Some(5), ..Planted::counted(1) };
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    let before = format!("{:?}", t.key(&pool, key.id).await);
    assert_eq!(t.store.prepare(&pool).await.unwrap(), Vec::<String>::new());
    assert_eq!(format!("{:?}", t.key(&pool, key.id).await), before);
    t.store.ping().await.unwrap();
    assert!(!t.store.describe().contains("mongodb://"));
}
