//! reset: counts start from 0 again.

use keylend::domain::{KeyId, Outcome, State, UsageCount};

use crate::support::{HOUR, Planted, TestStore, assert_between, in_order, least_recently_used};

on_both_stores! {
    counts_are_0_and_stamped_and_all_else_stays,
    only_keys_that_are_there_are_answered,
    an_open_lease_outlives_a_reset_and_counts_from_0,
    thousands_are_reset_at_once,
}

async fn counts_are_0_and_stamped_and_all_else_stays(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys = [
            Planted { last_used: Some(5), order: Some(3), leases: vec![HOUR], ..Planted::counted(4) },
            Planted { is_active: false, disabled_reason: Some("exhausted"), ..Planted::counted(100) },
            Planted { resting_until: Some(i64::MAX / 2), ..Planted::new() },
            Planted::counted(9),
        ];
        let pool = t.pool(policy, &keys).await;
        let mut expected = t.records(&pool).await.value;
        let ids = [0, 1, 2].map(|n| keys[n].id);
        let first = t.now(&pool).await;
        let mut reset = t.store.reset(&pool, &ids).await.unwrap();
        let last = t.now(&pool).await;
        reset.sort();
        assert_eq!(reset, ids);
        for record in &mut expected {
            if ids.contains(&record.key.id) {
                let last_used = t.key(&pool, record.key.id).await.last_used;
                assert_between(first, last_used.expect("it is stamped"), last);
                (record.key.usage_count, record.key.last_used) = (UsageCount::Whole(0), last_used);
            }
        }
        assert_eq!(format!("{:?}", t.records(&pool).await.value), format!("{expected:?}"));
    }
}

async fn only_keys_that_are_there_are_answered(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::counted(4)]).await;
    let id = t.all(&pool).await.value[0].id;
    assert_eq!(t.store.reset(&pool, &[]).await.unwrap(), []);
    assert_eq!(t.store.reset(&pool, &[KeyId::from_bytes([7; 12])]).await.unwrap(), []);
    assert_eq!(t.uses(&pool, id).await, (4, 0));
    assert_eq!(t.store.reset(&pool, &[KeyId::from_bytes([7; 12]), id]).await.unwrap(), [id]);
    assert_eq!(t.store.stats(&pool, 4).await.unwrap().keys.of(State::Usable), 1);
}

async fn an_open_lease_outlives_a_reset_and_counts_from_0(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::counted(3)]).await;
    let leased = t.lease(&pool).await;
    t.store.reset(&pool, &[leased.id]).await.unwrap();
    assert_eq!(t.uses(&pool, leased.id).await, (0, 1));
    let settled = t.report(&pool, &leased, Outcome::Used).await.unwrap();
    assert_eq!(settled.usage_count, UsageCount::Whole(1));
}

async fn thousands_are_reset_at_once(t: &TestStore) {
    let keys: Vec<Planted> = (0..2500).map(|_| Planted::counted(4)).collect();
    let pool = t.pool(least_recently_used(4), &keys).await;
    let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
    let mut reset = t.store.reset(&pool, &ids).await.unwrap();
    reset.sort();
    assert_eq!(reset, ids);
    assert_eq!(t.store.stats(&pool, 4).await.unwrap().keys.of(State::Usable), 2500);
}
