//! list: keys in the order of their places, a page at a time.

use keylend::domain::state::state;
use keylend::domain::{KeyId, KeyRecord, Picks, Place, Policy, State, UsageCount};
use keylend::store::Page;

use crate::support::{HOUR, Planted, TestStore, in_order, least_recently_used, page};

on_both_stores! {
    pages_follow_each_other_by_id,
    an_in_order_pool_is_listed_by_order_and_what_has_none_comes_first,
    a_page_of_one_state_goes_on_until_it_is_full,
    an_empty_pool_has_an_empty_list,
    a_page_of_no_keys_is_empty,
    every_key_is_listed_as_it_is_stored,
}

async fn pages_follow_each_other_by_id(t: &TestStore) {
    let mut keys: Vec<Planted> = (0..7).map(Planted::counted).collect();
    let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
    keys.reverse();
    let pool = t.pool(least_recently_used(4), &keys).await;
    let mut after = None;
    for expected in [&ids[..3], &ids[3..6], &ids[6..], &[]] {
        let seen = t.store.list(&pool, page(after, 3)).await.unwrap().value;
        assert_eq!(seen.iter().map(|record| record.key.id).collect::<Vec<KeyId>>(), expected);
        after = seen.last().map(KeyRecord::place).or(after);
    }
    // An id that is no key's own has its place too.
    assert_eq!(t.store.list(&pool, page(place([0; 12]), 100)).await.unwrap().value.len(), 7);
    assert_eq!(t.store.list(&pool, page(place([255; 12]), 100)).await.unwrap().value.len(), 0);
}

fn place(id: [u8; 12]) -> Option<Place> {
    Some(Place { order: None, id: KeyId::from_bytes(id) })
}

async fn an_in_order_pool_is_listed_by_order_and_what_has_none_comes_first(t: &TestStore) {
    let orders = [Some(5), None, Some(-9), Some(5), None, Some(i64::MAX), Some(i64::MIN), Some(5), Some(0)];
    let keys = orders.map(|order| Planted { order, ..Planted::new() });
    let expected: Vec<KeyId> = [1, 4, 6, 2, 8, 0, 3, 7, 5].map(|n: usize| keys[n].id).into();
    let pool = t.pool(in_order(4), &keys).await;
    for limit in 1..=10 {
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let part = t.store.list(&pool, page(after, limit)).await.unwrap().value;
            assert!(part.len() <= limit as usize);
            let Some(last) = part.last() else { break };
            after = Some(last.place());
            listed.extend(part.iter().map(|record| record.key.id));
        }
        assert_eq!(listed, expected, "{limit} a page");
    }
    // The same keys in another pool's eyes.
    let by_id = t.records(&Policy { picks: Picks::LeastRecentlyUsed, ..pool.clone() }).await.value;
    assert!(by_id.is_sorted_by_key(|record| record.key.id));
    // A place without a key goes on where the key would be.
    let between = Some(Place { order: Some(5), id: KeyId::from_bytes([255; 12]) });
    assert_eq!(t.store.list(&pool, page(between, 9)).await.unwrap().value[0].key.id, keys[5].id);
    assert_eq!(t.lease(&pool).await.id, expected[0]);
}

async fn a_page_of_one_state_goes_on_until_it_is_full(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys: Vec<Planted> = (0..60)
            .map(|n| Planted { is_active: n % 7 > 0, order: (n % 4 > 0).then_some(n), ..Planted::counted(n % 6) })
            .collect();
        let pool = t.pool(policy, &keys).await;
        for wanted in State::ALL {
            let all = t.records(&pool).await;
            let expected = all.value.iter().filter(|record| state(&record.key, 4, all.now) == wanted);
            let expected: Vec<KeyId> = expected.map(|record| record.key.id).collect();
            let mut listed = Vec::new();
            let mut after = None;
            loop {
                let part = Page { after, limit: 4, state: Some(wanted) };
                let part = t.store.list(&pool, part).await.unwrap().value;
                let Some(last) = part.last() else { break };
                after = Some(last.place());
                listed.extend(part.iter().map(|record| record.key.id));
                assert!(part.len() == 4 || listed.len() == expected.len(), "a page that is not the last is full");
            }
            assert_eq!(listed, expected, "{wanted:?}");
        }
    }
}

async fn an_empty_pool_has_an_empty_list(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        assert!(t.store.list(&pool, page(None, 10)).await.unwrap().value.is_empty());
    }
}

async fn a_page_of_no_keys_is_empty(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    assert!(t.store.list(&pool, page(None, 0)).await.unwrap().value.is_empty());
}

async fn every_key_is_listed_as_it_is_stored(t: &TestStore) {
    let keys = [
        Planted { last_used: Some(3), ..Planted::counted(2) },
        Planted { is_active: false, resting_until: Some(HOUR), ..Planted::counted(9) },
        Planted { leases: vec![5, 4], order: Some(1), ..Planted::new() },
    ];
    let pool = t.pool(in_order(4), &keys).await;
    let listed = t.all(&pool).await;
    for (key, planted) in listed.value.iter().zip(&keys) {
        assert_eq!(format!("{key:?}"), format!("{:?}", t.key(&pool, key.id).await));
        assert_eq!(key.secret.as_ref().unwrap().expose(), planted.secret);
        assert_eq!(key.usage_count, UsageCount::Whole(planted.usage_count as u64));
        assert_eq!(key.last_used.map(|at| at.as_millis()), planted.last_used);
        assert_eq!(key.resting_until.map(|at| at.as_millis()), planted.resting_until);
        assert_eq!((key.is_active, key.open_leases), (planted.is_active, Some(planted.leases.len() as u64)));
        assert_eq!(key.first_lease_ends_at.map(|at| at.as_millis()), planted.leases.iter().min().copied());
    }
    assert_eq!(listed.value.len(), 3);
}
