//! show: one key with all that is stored of it.

use keylend::domain::{DisabledReason, KeyId, OpenLease, Place, Timestamp};

use crate::support::{HOUR, Planted, TestStore, in_order, least_recently_used};

on_both_stores! {
    a_key_is_shown_as_it_is_listed,
    a_key_that_is_not_there_is_not_shown,
    open_leases_are_shown_lapsed_or_not,
}

async fn a_key_is_shown_as_it_is_listed(t: &TestStore) {
    let keys = [
        Planted::new(),
        Planted { is_active: false, disabled_reason: Some("removed_from_file"), ..Planted::counted(9) },
        Planted { is_active: false, disabled_reason: Some("nonsense"), order: Some(-7), ..Planted::new() },
        Planted { leases: vec![HOUR], resting_until: Some(5), last_used: Some(6), order: Some(3), ..Planted::new() },
    ];
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &keys).await;
        let listed = t.records(&pool).await.value;
        assert_eq!(listed.len(), keys.len());
        for record in &listed {
            assert_eq!(format!("{record:?}"), format!("{:?}", t.record(&pool, record.key.id).await));
        }
        let [new, removed, odd, used] = [0, 1, 2, 3].map(|n| keys[n].id);
        let new = t.record(&pool, new).await;
        assert!(new.order.is_none() && new.leases.is_empty() && new.disabled_reason.is_none());
        assert!(new.note.is_none() && new.added_at.is_none());
        assert_eq!(t.record(&pool, removed).await.disabled_reason, Some(DisabledReason::RemovedFromFile));
        let odd = t.record(&pool, odd).await;
        assert_eq!((odd.disabled_reason, odd.order), (None, Some(-7)));
        assert_eq!(odd.place(), Place { order: Some(-7), id: odd.key.id });
        let used = t.record(&pool, used).await;
        assert_eq!(used.key.last_used, Some(Timestamp::from_millis(6)));
        assert_eq!(
            used.leases,
            [OpenLease { by: Some(String::new()), expires_at: Some(Timestamp::from_millis(HOUR)) }]
        );
    }
}

async fn a_key_that_is_not_there_is_not_shown(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    assert!(t.store.show(&pool, KeyId::from_bytes([7; 12])).await.unwrap().is_none());
}

async fn open_leases_are_shown_lapsed_or_not(t: &TestStore) {
    let key = Planted { leases: vec![5], ..Planted::new() };
    let pool = t.pool(least_recently_used(9), std::slice::from_ref(&key)).await;
    let leased = t.lease(&pool).await;
    let shown = t.record(&pool, key.id).await;
    // The lease settled what had lapsed, on MongoDB at once, on SQLite at the next sweep.
    let own = OpenLease { by: Some("tester".to_owned()), expires_at: Some(leased.expires_at) };
    assert!(shown.leases.contains(&own), "{shown:?}");
    assert_eq!(shown.key.open_leases, Some(shown.leases.len() as u64));
    t.let_leases_lapse(&pool).await;
    let lapsed = OpenLease { by: Some("tester".to_owned()), expires_at: Some(Timestamp::from_millis(1)) };
    assert!(t.record(&pool, key.id).await.leases.contains(&lapsed));
}
