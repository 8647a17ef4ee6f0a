//! sweep: what lapsed is settled once, as the pool says.

use std::time::Duration;

use keylend::domain::{Lapsed, Outcome, Policy, Report};

use crate::support::{
    HOUR, Planted, TestStore, eventually, in_order, lease_id, least_recently_used, name, request_for,
};

on_both_stores! {
    a_lapsed_lease_counts_in_a_count_pool_and_not_in_a_refund_pool,
    open_leases_that_have_not_lapsed_are_left_alone,
    nothing_lapsed_is_nothing_settled,
    a_key_is_settled_in_every_state_and_not_stamped,
    a_lease_lapses_by_itself_when_its_time_is_over,
    sweeps_and_reports_at_once_settle_each_lease_once,
    a_sweep_keeps_to_its_pool,
}

async fn a_lapsed_lease_counts_in_a_count_pool_and_not_in_a_refund_pool(t: &TestStore) {
    for (lapsed, counts) in [(Lapsed::Count, [3, 4, 0]), (Lapsed::Refund, [1, 0, 0])] {
        for policy in [least_recently_used(4), in_order(4)] {
            let keys = [Planted::counted(1), Planted::new(), Planted::new()];
            let collection = format!("keys_{}", keys[0].id);
            let pool = t.pool(Policy { lapsed, collection, ..policy }, &[]).await;
            let mut keys = keys;
            (keys[0].leases, keys[1].leases) = (vec![1, 2], vec![3; 4]);
            t.plant(&pool, &keys).await;
            assert_eq!(t.store.sweep(&pool).await.unwrap(), 6);
            assert_eq!(t.store.sweep(&pool).await.unwrap(), 0);
            for (key, count) in keys.iter().zip(counts) {
                assert_eq!(t.uses(&pool, key.id).await, (count, 0), "{lapsed:?}");
            }
        }
    }
}

async fn open_leases_that_have_not_lapsed_are_left_alone(t: &TestStore) {
    let pool = t.pool(least_recently_used(9), &[]).await;
    let later = t.in_millis(&pool, HOUR).await;
    let key = Planted { leases: vec![later, 5, later + 1, 7], ..Planted::counted(1) };
    t.plant(&pool, std::slice::from_ref(&key)).await;
    assert_eq!(t.store.sweep(&pool).await.unwrap(), 2);
    assert_eq!(t.uses(&pool, key.id).await, (3, 2));
    assert_eq!(t.key(&pool, key.id).await.first_lease_ends_at.unwrap().as_millis(), later);
    let leased = t.lease(&pool).await;
    assert_eq!(t.store.sweep(&pool).await.unwrap(), 0);
    assert!(t.report(&pool, &leased, Outcome::Used).await.is_some());
}

async fn nothing_lapsed_is_nothing_settled(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        assert_eq!(t.store.sweep(&pool).await.unwrap(), 0);
        t.plant(&pool, &[Planted::counted(2)]).await;
        assert_eq!(t.store.sweep(&pool).await.unwrap(), 0);
    }
}

async fn a_key_is_settled_in_every_state_and_not_stamped(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    let later = t.in_millis(&pool, HOUR).await;
    let lapsed = || Planted { leases: vec![1], last_used: Some(77), ..Planted::counted(1) };
    let keys = [
        lapsed(),
        Planted { is_active: false, disabled_reason: Some("operator"), ..lapsed() },
        Planted { resting_until: Some(later), ..lapsed() },
        Planted { usage_count: 4, ..lapsed() },
        Planted { last_used: None, ..lapsed() },
    ];
    t.plant(&pool, &keys).await;
    assert_eq!(t.store.sweep(&pool).await.unwrap(), 5);
    for key in keys {
        let stored = t.key(&pool, key.id).await;
        assert_eq!(t.uses(&pool, key.id).await, (key.usage_count as u64 + 1, 0));
        assert_eq!(stored.last_used.map(|at| at.as_millis()), key.last_used);
        assert_eq!(stored.resting_until.map(|at| at.as_millis()), key.resting_until);
        assert_eq!(stored.is_active, key.is_active);
        assert_eq!(t.hidden(&pool, key.id).await.disabled_reason.as_deref(), key.disabled_reason);
    }
}

async fn a_lease_lapses_by_itself_when_its_time_is_over(t: &TestStore) {
    for (lapsed, count) in [(Lapsed::Count, 1), (Lapsed::Refund, 0)] {
        let key = Planted::new();
        let pool = Policy { lapsed, collection: format!("keys_{}", key.id), ..least_recently_used(1) };
        let pool = t.pool(pool, std::slice::from_ref(&key)).await;
        let leased = t.lease_as(&pool, &request_for(Duration::from_millis(60))).await;
        t.assert_no_usable_key(&pool).await;
        eventually("it lapses", async || (t.store.sweep(&pool).await.unwrap() == 1).then_some(())).await;
        assert!(t.now(&pool).await >= leased.expires_at);
        assert_eq!(t.report(&pool, &leased, Outcome::Used).await, None);
        assert_eq!(t.uses(&pool, key.id).await, (count, 0));
        assert_eq!(t.store.find_usable_key(&pool, 1).await.unwrap().is_some(), lapsed == Lapsed::Refund);
    }
}

async fn sweeps_and_reports_at_once_settle_each_lease_once(t: &TestStore) {
    let keys: Vec<Planted> = (0..4).map(|_| Planted::new()).collect();
    let pool = t.pool(least_recently_used(8), &keys).await;
    let instances = [t.store.clone(), t.another_instance().await];
    // Their ends fall into the time in which they are reported and swept: who comes first settles each.
    let mut leases = Vec::new();
    for n in 0..32 {
        leases.push(t.lease_as(&pool, &request_for(Duration::from_millis(100 + 10 * n))).await);
    }
    let reports = leases.iter().map(|leased| {
        let (store, pool, id) = (instances[0].clone(), pool.clone(), lease_id(&pool, leased));
        let report = Report::new(Outcome::Used, None).unwrap();
        tokio::spawn(async move { u64::from(store.report(&pool, &id, report).await.unwrap().is_some()) })
    });
    let sweeps = (0..6).map(|n| {
        let (store, pool) = (instances[n % 2].clone(), pool.clone());
        tokio::spawn(async move {
            let mut settled = 0;
            for _ in 0..5 {
                settled += store.sweep(&pool).await.unwrap();
            }
            settled
        })
    });
    let mut settled = 0;
    for one in reports.chain(sweeps).collect::<Vec<_>>() {
        settled += one.await.unwrap();
    }
    // A lease that was made after another had lapsed may have settled that one on the way.
    assert!(settled <= 32, "{settled}");
    eventually("the last one lapses", async || {
        t.store.sweep(&pool).await.unwrap();
        t.all(&pool).await.value.iter().all(|key| key.open_leases == Some(0)).then_some(())
    })
    .await;
    for key in keys {
        assert_eq!(t.uses(&pool, key.id).await, (8, 0));
    }
}

async fn a_sweep_keeps_to_its_pool(t: &TestStore) {
    let lapsed = || Planted { leases: vec![1, 2], ..Planted::new() };
    let (mine, others) = (lapsed(), lapsed());
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&mine)).await;
    let other = Policy::new(name("other"), pool.picks, 4);
    let other = t.pool(Policy { lapsed: Lapsed::Refund, ..other }, std::slice::from_ref(&others)).await;
    assert_eq!(t.store.sweep(&pool).await.unwrap(), 2);
    assert_eq!(t.uses(&other, others.id).await, (0, 2));
    assert_eq!(t.store.sweep(&other).await.unwrap(), 2);
    assert_eq!((t.uses(&pool, mine.id).await, t.uses(&other, others.id).await), ((2, 0), (0, 0)));
}
