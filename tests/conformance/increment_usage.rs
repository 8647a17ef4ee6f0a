//! increment_usage: a use that has happened is counted, whatever the key's state.

use keylend::domain::key::MAX_USAGE_COUNT;
use keylend::domain::{KeyRef, NewKey, Policy, State, UsageCount, state::state};
use keylend::store::Incremented;
use tokio::task::JoinSet;

use crate::support::{HOUR, Planted, TestStore, assert_between, in_order, least_recently_used, secret};

on_both_stores! {
    one_use_is_counted_and_stamped_by_id_and_by_secret,
    a_use_is_counted_in_every_state_of_the_key,
    a_key_that_is_not_there_is_unknown,
    the_largest_count_is_not_counted_on,
    many_at_once_are_all_counted,
    each_of_those_who_count_together_counts_once,
    what_cannot_be_counted_together_is_left_for_alone,
    crowds_that_count_together_count_each_use,
    a_key_that_is_just_being_added_is_never_called_invalid,
}

/// Counts together; what is left is counted alone.
async fn count_all(t: &TestStore, pool: &Policy, keys: &[KeyRef]) -> Vec<Incremented> {
    let counted = t.store.increment_all(pool, keys).await.unwrap();
    assert_eq!(counted.len(), keys.len());
    let mut all = Vec::new();
    for (key, counted) in keys.iter().zip(counted) {
        all.push(match counted {
            Some(counted) => counted,
            None => t.store.increment_usage(pool, key).await.unwrap(),
        });
    }
    all
}

async fn a_key_that_is_just_being_added_is_never_called_invalid(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    for n in 0..300 {
        let new = NewKey::fresh(secret(&format!("sk-coming-{n:04}")));
        let key = KeyRef::Secret(new.secret.clone());
        let keys = [new];
        let count = async {
            // Again and again, until it is there.
            while t.store.increment_usage(&pool, &key).await.unwrap() == Incremented::UnknownKey {}
            t.store.increment_usage(&pool, &key).await.unwrap()
        };
        let (added, counted) = tokio::join!(t.store.add(&pool, &keys), count);
        added.unwrap();
        assert!(
            matches!(counted, Incremented::Counted { usage_count: UsageCount::Whole(2), .. }),
            "key {n}: {counted:?}"
        );
    }
}

async fn each_of_those_who_count_together_counts_once(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let keys: Vec<Planted> = (0..5).map(Planted::counted).collect();
        let pool = t.pool(policy, &keys).await;
        let by_id = |n: usize| KeyRef::Id(keys[n].id);
        let by_secret = |n: usize| KeyRef::Secret(secret(&keys[n].secret));
        let nobody = Planted::new();
        let before = t.now(&pool).await;
        // One key thrice, in both ways; one in another state; one that is not there; one is left alone.
        let unknown = [KeyRef::Id(nobody.id), KeyRef::Secret(secret(&nobody.secret))];
        let [unknown_id, unknown_secret] = unknown;
        let asked = [by_id(1), by_secret(2), unknown_id, by_id(4), by_secret(1), unknown_secret, by_secret(1)];
        let counted = count_all(t, &pool, &asked).await;
        for (n, (key, count)) in [(1, 4), (2, 3), (0, 0), (4, 5), (1, 4), (0, 0), (1, 4)].into_iter().enumerate() {
            match &counted[n] {
                Incremented::UnknownKey => assert_eq!(count, 0),
                Incremented::Counted { id, usage_count: UsageCount::Whole(told), last_used } => {
                    // One after the other, or all at once.
                    assert!(*id == keys[key].id && *told <= count && *told > count - 3, "{n}: {counted:?}");
                    assert_between(before, *last_used, t.now(&pool).await);
                }
                other => panic!("{n}: {other:?}"),
            }
        }
        for (key, count) in [(0, 0), (1, 4), (2, 3), (3, 3), (4, 5)] {
            let stored = t.key(&pool, keys[key].id).await;
            assert_eq!(
                (stored.usage_count, stored.last_used.is_some()),
                (UsageCount::Whole(count), ![0, 3].contains(&key))
            );
        }
    }
}

async fn what_cannot_be_counted_together_is_left_for_alone(t: &TestStore) {
    let most = i64::try_from(MAX_USAGE_COUNT).unwrap();
    let [full, almost, plain] = [Planted::counted(most), Planted::counted(most - 1), Planted::counted(1)];
    let pool = t.pool(least_recently_used(4), &[full.clone(), almost.clone(), plain.clone()]).await;
    let asked = [full.id, plain.id, almost.id, almost.id].map(KeyRef::Id);
    let counted = count_all(t, &pool, &asked).await;
    assert_eq!((&counted[0], &counted[3]), (&Incremented::InvalidKey, &Incremented::InvalidKey));
    for (n, expected) in [(1, 2), (2, MAX_USAGE_COUNT)] {
        let is_it = matches!(counted[n], Incremented::Counted { usage_count: UsageCount::Whole(count), .. } if count == expected);
        assert!(is_it, "{counted:?}");
    }
}

async fn crowds_that_count_together_count_each_use(t: &TestStore) {
    let keys: Vec<Planted> = (0..20).map(|_| Planted::new()).collect();
    let pool = t.pool(least_recently_used(4), &keys).await;
    let instances = [t.store.clone(), t.another_instance().await];
    let crowds = (0..6_usize).map(|crowd| {
        let (store, pool, keys) = (instances[crowd % 2].clone(), pool.clone(), keys.clone());
        async move {
            for step in 0..5 {
                let key = |n: usize| match n % 2 {
                    0 => KeyRef::Id(keys[n % 20].id),
                    _ => KeyRef::Secret(secret(&keys[n % 20].secret)),
                };
                let asked: Vec<KeyRef> = (0..16).map(|n| key(crowd * 7 + step * 3 + n)).collect();
                let counted = store.increment_all(&pool, &asked).await.unwrap();
                assert!(counted.iter().all(|one| matches!(one, Some(Incremented::Counted { .. }))), "{counted:?}");
            }
        }
    });
    JoinSet::from_iter(crowds).join_all().await;
    assert_eq!(t.store.stats(&pool, 4).await.unwrap().counted, 6 * 5 * 16);
}

async fn one_use_is_counted_and_stamped_by_id_and_by_secret(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let [key, other] = [Planted::counted(1), Planted::counted(1)];
        let pool = t.pool(policy, &[other.clone(), key.clone()]).await;
        for (n, key_ref) in [(2, KeyRef::Id(key.id)), (3, KeyRef::Secret(secret(&key.secret)))] {
            let before = t.now(&pool).await;
            let counted = t.store.increment_usage(&pool, &key_ref).await.unwrap();
            let Incremented::Counted { id, usage_count, last_used } = counted else { panic!("{counted:?}") };
            assert_eq!((id, usage_count), (key.id, UsageCount::Whole(n)));
            assert_between(before, last_used, t.now(&pool).await);
            let stored = t.key(&pool, key.id).await;
            assert_eq!((stored.usage_count, stored.last_used), (usage_count, Some(last_used)));
        }
        let untouched = t.key(&pool, other.id).await;
        assert_eq!((untouched.usage_count, untouched.last_used), (UsageCount::Whole(1), None));
    }
}

async fn a_use_is_counted_in_every_state_of_the_key(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    let (past, later) = (t.in_millis(&pool, -HOUR).await, t.in_millis(&pool, HOUR).await);
    let keys = [
        (State::Usable, Planted::new()),
        (State::Disabled, Planted { is_active: false, disabled_reason: Some("operator"), ..Planted::counted(2) }),
        (State::Spent, Planted::counted(4)),
        (State::Spent, Planted::counted(1_000_000)),
        (State::Resting, Planted { resting_until: Some(later), ..Planted::new() }),
        (State::Leased, Planted { leases: vec![past, later], ..Planted::counted(2) }),
    ];
    for (expected, key) in keys {
        t.plant(&pool, std::slice::from_ref(&key)).await;
        let seen = t.seen(&pool, key.id).await;
        assert_eq!(state(&seen.value, 4, seen.now), expected);
        let counted = t.store.increment_usage(&pool, &KeyRef::Id(key.id)).await.unwrap();
        let count = UsageCount::Whole(key.usage_count as u64 + 1);
        assert!(matches!(counted, Incremented::Counted { usage_count, .. } if usage_count == count), "{counted:?}");
        let stored = t.key(&pool, key.id).await;
        assert_eq!(stored.usage_count, count);
        // Nothing else is changed: leases stay open, a rest and a switch stay as they are.
        assert_eq!(stored.open_leases, Some(key.leases.len() as u64));
        assert_eq!(stored.resting_until.map(|until| until.as_millis()), key.resting_until);
        assert_eq!(stored.is_active, key.is_active);
        assert_eq!(t.hidden(&pool, key.id).await.disabled_reason.as_deref(), key.disabled_reason);
    }
}

async fn a_key_that_is_not_there_is_unknown(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    let elsewhere = Planted::new();
    t.pool(in_order(4), std::slice::from_ref(&elsewhere)).await;
    for key in [KeyRef::Id(elsewhere.id), KeyRef::Secret(secret(&elsewhere.secret)), KeyRef::Secret(secret("$api_key"))]
    {
        assert_eq!(t.store.increment_usage(&pool, &key).await.unwrap(), Incremented::UnknownKey, "{key:?}");
    }
    assert_eq!(t.store.stats(&pool, 4).await.unwrap().counted, 0);
}

async fn the_largest_count_is_not_counted_on(t: &TestStore) {
    let most = i64::try_from(MAX_USAGE_COUNT).unwrap();
    let [full, almost] = [Planted::counted(most), Planted::counted(most - 1)];
    let pool = t.pool(least_recently_used(4), &[full.clone(), almost.clone()]).await;
    let counted = t.store.increment_usage(&pool, &KeyRef::Id(almost.id)).await.unwrap();
    assert!(matches!(counted, Incremented::Counted { usage_count: UsageCount::Whole(MAX_USAGE_COUNT), .. }));
    for id in [almost.id, full.id] {
        let before = format!("{:?}", t.key(&pool, id).await);
        let counted = t.store.increment_usage(&pool, &KeyRef::Id(id)).await.unwrap();
        assert_eq!(counted, Incremented::InvalidKey);
        assert_eq!(format!("{:?}", t.key(&pool, id).await), before);
    }
}

async fn many_at_once_are_all_counted(t: &TestStore) {
    let keys = [Planted::new(), Planted::new()];
    let pool = t.pool(least_recently_used(4), &keys).await;
    let instances = [t.store.clone(), t.another_instance().await];
    let all = (0..60).map(|n| {
        let (store, pool, key) = (instances[n % 2].clone(), pool.clone(), keys[n % 3 / 2].clone());
        tokio::spawn(async move {
            let key = if n % 2 == 0 { KeyRef::Id(key.id) } else { KeyRef::Secret(secret(&key.secret)) };
            let counted = store.increment_usage(&pool, &key).await.unwrap();
            assert!(matches!(counted, Incremented::Counted { .. }), "{counted:?}");
        })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!((t.uses(&pool, keys[0].id).await, t.uses(&pool, keys[1].id).await), ((40, 0), (20, 0)));
}
