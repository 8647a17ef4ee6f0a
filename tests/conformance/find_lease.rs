//! find_lease and find_same: an open lease, by its id and by its request.

use std::time::Duration;

use keylend::domain::{EntryId, KeyId, LeaseId, OpenLease, Outcome};

use crate::support::{Planted, TestStore, in_order, lease_id, least_recently_used, repeatable, request, request_for};

on_both_stores! {
    an_open_lease_is_found_by_its_id,
    a_lease_that_is_gone_is_not_found,
    the_lease_of_the_same_request_is_found_and_is_of_both_from_then_on,
    a_request_that_has_no_open_lease_finds_none,
}

async fn an_open_lease_is_found_by_its_id(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    let [first, second] = [t.lease(&pool).await, t.lease(&pool).await];
    for leased in [&first, &second] {
        let found = t.store.find_lease(&pool, &lease_id(&pool, leased)).await.unwrap();
        let expected = OpenLease { by: Some("tester".to_owned()), expires_at: Some(leased.expires_at) };
        assert_eq!(found, Some(expected));
    }
    let ends = t.store.renew(&pool, &lease_id(&pool, &first), Duration::from_secs(900)).await.unwrap();
    let found = t.store.find_lease(&pool, &lease_id(&pool, &first)).await.unwrap().unwrap();
    assert_eq!(found.expires_at, ends);
    assert_eq!(t.uses(&pool, first.id).await, (0, 2));
}

async fn a_lease_that_is_gone_is_not_found(t: &TestStore) {
    let pool = t.pool(in_order(4), &[Planted::new(), Planted::new()]).await;
    let [settled, lapsed] = [t.lease(&pool).await, t.lease(&pool).await];
    t.report(&pool, &settled, Outcome::Used).await.unwrap();
    t.let_leases_lapse(&pool).await;
    let open = t.lease(&pool).await;
    for leased in [&settled, &lapsed] {
        assert_eq!(t.store.find_lease(&pool, &lease_id(&pool, leased)).await.unwrap(), None);
    }
    let of = |key, entry| LeaseId { pool: pool.name.clone(), key, entry };
    for other in [of(KeyId::from_bytes([7; 12]), open.entry), of(open.id, EntryId::from_bytes([7; 16]))] {
        assert_eq!(t.store.find_lease(&pool, &other).await.unwrap(), None);
    }
    let other_pool = t.pool(least_recently_used(4), &[]).await;
    assert_eq!(t.store.find_lease(&other_pool, &lease_id(&other_pool, &open)).await.unwrap(), None);
    assert!(t.store.find_lease(&pool, &lease_id(&pool, &open)).await.unwrap().is_some());
}

async fn the_lease_of_the_same_request_is_found_and_is_of_both_from_then_on(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new(), Planted::new()]).await;
    let first = repeatable("web", &pool, "order-1");
    let leased = t.lease_as(&pool, &first).await;
    let before = t.uses(&pool, leased.id).await;
    let again = repeatable("web", &pool, "order-1");
    let same = t.store.find_same(&pool, &again).await.unwrap().expect("it is open");
    assert_eq!(format!("{same:?}"), format!("{leased:?}"));
    assert_eq!((same.entry, same.secret.expose()), (leased.entry, leased.secret.expose()));
    assert_eq!(t.uses(&pool, leased.id).await, before);
    // It has a holder now: who asked first cannot give it back.
    assert!(!t.store.give_back(&pool, &first).await.unwrap());
    assert!(t.report(&pool, &leased, Outcome::Used).await.is_some());
    assert!(t.store.find_same(&pool, &again).await.unwrap().is_none());
}

async fn a_request_that_has_no_open_lease_finds_none(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    for never in [request(), repeatable("web", &pool, "never")] {
        assert!(t.store.find_same(&pool, &never).await.unwrap().is_none());
    }
    let lapsing = repeatable("web", &pool, "lapsed");
    let leased = t.lease_as(&pool, &lapsing).await;
    t.let_leases_lapse(&pool).await;
    assert!(t.store.find_same(&pool, &lapsing).await.unwrap().is_none());
    // Nothing was swept for it.
    assert_eq!(t.uses(&pool, leased.id).await, (0, 1));
    let other = t.lease_as(&pool, &request_for(Duration::from_secs(60))).await;
    assert!(t.store.find_same(&pool, &repeatable("other", &pool, "lapsed")).await.unwrap().is_none());
    assert_eq!(other.id, leased.id);
}
