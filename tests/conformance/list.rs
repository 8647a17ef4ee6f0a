//! list: keys by id, a page at a time.

use keylend::domain::{KeyId, KeyRecord, Place, UsageCount};

use crate::support::{HOUR, Planted, TestStore, in_order, least_recently_used, page};

on_both_stores! {
    pages_follow_each_other_by_id,
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
