//! record_policy: instances that lend by different policies are told of it.

use std::time::Duration;

use keylend::domain::{Lapsed, Picks, Policy};

use crate::support::{TestStore, in_order, least_recently_used};

on_both_stores! {
    the_first_and_the_same_policy_are_nothing_to_tell,
    another_policy_is_told_with_both,
    pools_are_recorded_apart,
    a_record_of_others_is_replaced_and_never_repeated,
}

async fn the_first_and_the_same_policy_are_nothing_to_tell(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    for store in [&t.store, &t.store, &t.another_instance().await] {
        assert_eq!(store.record_policy(&pool).await.unwrap(), None);
    }
}

async fn another_policy_is_told_with_both(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    assert_eq!(t.store.record_policy(&pool).await.unwrap(), None);
    let other = Policy { uses_per_key: 5, lapsed: Lapsed::Refund, ..pool.clone() };
    let told = t.another_instance().await.record_policy(&other).await.unwrap();
    let encrypt = pool.encrypt;
    let expected = format!(
        "pool stability: this instance lends with {{uses_per_key: 5, picks: least_recently_used, lapsed: refund, \
         lease_ttl_seconds: 300, rest_seconds: 60, rest_cap_seconds: 3600, encrypt: {encrypt}}}, the last one recorded was \
         {{uses_per_key: 4, picks: least_recently_used, lapsed: count, lease_ttl_seconds: 300, rest_seconds: 60, \
         rest_cap_seconds: 3600, encrypt: {encrypt}}}"
    );
    assert_eq!(told, Some(expected));
    assert_eq!(t.store.record_policy(&other).await.unwrap(), None);
    let minute = Duration::from_secs(60);
    let mut last = other.clone();
    for changed in [
        Policy { picks: Picks::InOrder, ..last.clone() },
        Policy { lease_ttl: minute, ..last.clone() },
        Policy { rest: minute / 2, ..last.clone() },
        Policy { rest_cap: minute, ..last.clone() },
    ] {
        assert!(t.store.record_policy(&changed).await.unwrap().is_some(), "{changed:?} after {last:?}");
        last = changed;
    }
}

async fn pools_are_recorded_apart(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(100)] {
        let pool = t.pool(policy, &[]).await;
        assert_eq!(t.store.record_policy(&pool).await.unwrap(), None);
    }
}

async fn a_record_of_others_is_replaced_and_never_repeated(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    for value in ["", "sk-strange", "{}", "{\"uses_per_key\": \"x\"}"] {
        t.spoil_recorded_policy(&pool, value).await;
        assert_eq!(t.store.record_policy(&pool).await.unwrap(), None, "{value}");
        assert_eq!(t.store.record_policy(&pool).await.unwrap(), None);
    }
    let other = Policy { uses_per_key: 5, ..pool.clone() };
    assert!(t.store.record_policy(&other).await.unwrap().is_some());
}
