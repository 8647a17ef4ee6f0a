//! renew: a lease lasts longer, never shorter, for as long as it is open.

use std::time::Duration;

use keylend::domain::{Outcome, Policy};

use crate::support::{
    Planted, TestStore, assert_between, eventually, in_order, lease_id, least_recently_used, request_for,
};

on_both_stores! {
    a_lease_ends_later_and_nothing_else_changes,
    a_lease_never_ends_earlier_than_before,
    a_settled_or_lapsed_lease_cannot_be_renewed,
    a_renewed_lease_outlives_its_first_end,
}

const MINUTE: Duration = Duration::from_secs(60);

async fn a_lease_ends_later_and_nothing_else_changes(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let key = Planted::counted(1);
        let pool = t.pool(policy, std::slice::from_ref(&key)).await;
        let leased = t.lease_as(&pool, &request_for(MINUTE)).await;
        let other = t.lease_as(&pool, &request_for(2 * MINUTE)).await;
        let stamped = t.key(&pool, key.id).await.last_used;
        for minutes in [5, 10, 60] {
            let before = t.now(&pool).await;
            let until = t.store.renew(&pool, &lease_id(&pool, &leased), minutes * MINUTE).await.unwrap().unwrap();
            assert_between(before.plus(minutes * MINUTE), until, t.now(&pool).await.plus(minutes * MINUTE));
            let stored = t.key(&pool, key.id).await;
            assert_eq!((stored.last_used, stored.open_leases), (stamped, Some(2)));
            assert_eq!(stored.first_lease_ends_at, Some(other.expires_at));
        }
        assert!(t.report(&pool, &leased, Outcome::Used).await.is_some());
        assert_eq!(t.uses(&pool, key.id).await, (2, 1));
    }
}

async fn a_lease_never_ends_earlier_than_before(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    let leased = t.lease_as(&pool, &request_for(5 * MINUTE)).await;
    for ttl in [Duration::from_secs(1), MINUTE, 4 * MINUTE] {
        let until = t.store.renew(&pool, &lease_id(&pool, &leased), ttl).await.unwrap();
        assert_eq!(until, Some(leased.expires_at));
        assert_eq!(t.key(&pool, key.id).await.first_lease_ends_at, Some(leased.expires_at));
    }
}

async fn a_settled_or_lapsed_lease_cannot_be_renewed(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    let settled = t.lease(&pool).await;
    assert!(t.report(&pool, &settled, Outcome::Unused).await.is_some());
    let lapsed = t.lease(&pool).await;
    t.let_leases_lapse(&pool).await;
    for leased in [settled, lapsed] {
        let before = format!("{:?}", t.key(&pool, key.id).await);
        assert_eq!(t.store.renew(&pool, &lease_id(&pool, &leased), MINUTE).await.unwrap(), None);
        assert_eq!(format!("{:?}", t.key(&pool, key.id).await), before);
    }
    assert_eq!(t.store.sweep(&pool).await.unwrap(), 1);
}

async fn a_renewed_lease_outlives_its_first_end(t: &TestStore) {
    let keys = [Planted::new(), Planted::new()];
    let pool = t.pool(Policy { uses_per_key: 1, ..least_recently_used(1) }, &keys).await;
    let ttl = Duration::from_millis(150);
    let (renewed, lapses) = (request_for(ttl), request_for(ttl));
    let (renewed, lapses) = (t.lease_as(&pool, &renewed).await, t.lease_as(&pool, &lapses).await);
    t.store.renew(&pool, &lease_id(&pool, &renewed), MINUTE).await.unwrap().expect("it has not lapsed yet");
    eventually("the other lapses", async || (t.store.sweep(&pool).await.unwrap() == 1).then_some(())).await;
    assert_eq!(t.report(&pool, &lapses, Outcome::Used).await, None);
    assert!(t.report(&pool, &renewed, Outcome::Unused).await.is_some());
    assert_eq!((t.uses(&pool, renewed.id).await, t.uses(&pool, lapses.id).await), ((0, 0), (1, 0)));
}
