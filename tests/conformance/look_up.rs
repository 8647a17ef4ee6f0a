//! look_up: one key as it is stored, left as it is.

use keylend::domain::{KeyRef, Timestamp, UsageCount};

use crate::support::{HOUR, Planted, TestStore, assert_between, in_order, least_recently_used, secret};

on_both_stores! {
    a_key_is_seen_as_it_is_stored_by_id_and_by_secret,
    a_fresh_key_has_neither_leases_nor_instants,
    a_key_that_is_not_there_is_none,
}

async fn a_key_is_seen_as_it_is_stored_by_id_and_by_secret(t: &TestStore) {
    let key = Planted {
        last_used: Some(1_767_323_045_678),
        is_active: false,
        resting_until: Some(HOUR),
        leases: vec![3 * HOUR, 2 * HOUR, 4 * HOUR],
        ..Planted::counted(1 << 53)
    };
    let pool = t.pool(least_recently_used(4), &[Planted::new(), key.clone(), Planted::new()]).await;
    let before = t.now(&pool).await;
    for key_ref in [KeyRef::Id(key.id), KeyRef::Secret(secret(&key.secret)), KeyRef::Id(key.id)] {
        let seen = t.store.look_up(&pool, &key_ref).await.unwrap().unwrap();
        assert_between(before, seen.now, t.now(&pool).await);
        let seen = seen.value;
        assert_eq!((seen.id, seen.secret.unwrap().expose()), (key.id, key.secret.as_str()));
        assert_eq!((seen.usage_count, seen.is_active), (UsageCount::Whole(1 << 53), false));
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!((seen.last_used, seen.resting_until), (at(1_767_323_045_678), at(HOUR)));
        assert_eq!((seen.open_leases, seen.first_lease_ends_at), (Some(3), at(2 * HOUR)));
    }
}

async fn a_fresh_key_has_neither_leases_nor_instants(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(in_order(4), std::slice::from_ref(&key)).await;
    let seen = t.key(&pool, key.id).await;
    assert_eq!((seen.usage_count, seen.is_active, seen.open_leases), (UsageCount::Whole(0), true, Some(0)));
    assert_eq!((seen.last_used, seen.resting_until, seen.first_lease_ends_at), (None, None, None));
}

async fn a_key_that_is_not_there_is_none(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    let elsewhere = Planted::new();
    t.pool(in_order(4), std::slice::from_ref(&elsewhere)).await;
    for key in [KeyRef::Id(elsewhere.id), KeyRef::Secret(secret(&elsewhere.secret)), KeyRef::Secret(secret("{$gt:''}"))]
    {
        assert!(t.store.look_up(&pool, &key).await.unwrap().is_none(), "{key:?}");
    }
}
