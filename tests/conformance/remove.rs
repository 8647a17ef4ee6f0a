//! remove: a key goes, its leases with it.

use keylend::domain::{KeyId, KeyRef, NewKey, Outcome};
use keylend::store::Added;

use crate::support::{Planted, TestStore, fresh, in_order, lease_id, least_recently_used, secret};

on_both_stores! {
    a_removed_key_is_gone_with_its_leases,
    only_a_key_that_is_there_is_removed,
    a_key_that_is_removed_can_be_added_again_with_its_id,
    the_same_id_in_another_pool_is_another_key,
}

async fn a_removed_key_is_gone_with_its_leases(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[Planted::new(), Planted::new()]).await;
        let leased = t.lease(&pool).await;
        assert!(t.store.remove(&pool, leased.id).await.unwrap());
        assert!(t.store.look_up(&pool, &KeyRef::Id(leased.id)).await.unwrap().is_none());
        assert!(t.store.look_up(&pool, &KeyRef::Secret(leased.secret.clone())).await.unwrap().is_none());
        assert!(t.report(&pool, &leased, Outcome::Used).await.is_none());
        assert!(t.store.find_lease(&pool, &lease_id(&pool, &leased)).await.unwrap().is_none());
        let left = t.store.stats(&pool, 4).await.unwrap();
        assert_eq!((left.keys.total(), left.leased, left.left), (1, 0, 4));
        assert_ne!(t.lease(&pool).await.id, leased.id);
    }
}

async fn only_a_key_that_is_there_is_removed(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    assert!(!t.store.remove(&pool, KeyId::from_bytes([7; 12])).await.unwrap());
    let id = t.all(&pool).await.value[0].id;
    assert!(t.store.remove(&pool, id).await.unwrap());
    assert!(!t.store.remove(&pool, id).await.unwrap());
}

async fn a_key_that_is_removed_can_be_added_again_with_its_id(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::counted(3)]).await;
    let leased = t.lease(&pool).await;
    assert!(t.store.remove(&pool, leased.id).await.unwrap());
    let again = NewKey { id: Some(leased.id), ..NewKey::fresh(leased.secret.clone()) };
    let added = t.store.add(&pool, &[again]).await.unwrap();
    assert_eq!(added.verdicts, [Added::New(leased.id)]);
    // What the key had before it was removed is no business of the one that is there now.
    assert_eq!(t.uses(&pool, leased.id).await, (0, 0));
    assert!(t.report(&pool, &leased, Outcome::Used).await.is_none());
    assert_eq!(t.uses(&pool, leased.id).await, (0, 0));
}

async fn the_same_id_in_another_pool_is_another_key(t: &TestStore) {
    let (one, other) = (t.pool(least_recently_used(4), &[]).await, t.pool(in_order(4), &[]).await);
    t.store.add(&one, &fresh(&[secret("sk-one")])).await.unwrap();
    let id = t.all(&one).await.value[0].id;
    let copy = NewKey { id: Some(id), ..NewKey::fresh(secret("sk-other")) };
    assert_eq!(t.store.add(&other, &[copy]).await.unwrap().verdicts, [Added::New(id)]);
    let [here, there] = [t.lease(&one).await, t.lease(&other).await];
    let second = t.lease(&one).await;
    assert_eq!((here.id, there.id, second.id), (id, id, id));
    assert_eq!((t.uses(&one, id).await, t.uses(&other, id).await), ((0, 2), (0, 1)));
    assert_eq!((t.record(&one, id).await.leases.len(), t.record(&other, id).await.leases.len()), (2, 1));
    // All four of each can be had, whatever is out on the other.
    for _ in 0..2 {
        t.lease(&one).await;
    }
    t.assert_no_usable_key(&one).await;
    assert_eq!(t.store.take(&other, 9).await.unwrap().unwrap().uses, 3);
    assert_eq!(t.store.stats(&other, 4).await.unwrap().leased, 1);
    assert!(t.store.remove(&one, id).await.unwrap());
    assert_eq!(t.uses(&other, id).await, (3, 1));
    assert!(t.report(&other, &there, Outcome::Used).await.is_some());
    assert!(t.report(&one, &here, Outcome::Used).await.is_none());
}
