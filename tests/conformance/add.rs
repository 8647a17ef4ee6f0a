//! add: new keys in the order given, and what became of each.

use std::collections::BTreeSet;

use keylend::domain::{
    DisabledReason, Key, KeyId, KeyRecord, KeyRef, NewKey, Policy, Secret, State, Timestamp, UsageCount,
};
use keylend::store::Added;

use crate::support::{Planted, TestStore, assert_between, fresh, in_order, least_recently_used, secret};

on_both_stores! {
    a_new_key_is_fresh,
    a_known_key_is_left_as_it_is_and_told,
    the_same_secret_twice_in_one_call_is_added_once,
    nothing_to_add_is_nothing_added,
    the_same_secret_may_be_a_key_of_several_pools,
    ten_thousand_keys_come_in_the_order_of_their_lines,
    imports_at_once_keep_their_own_order_and_never_share_a_place,
    the_longest_secret_can_be_added_and_found,
    a_key_comes_with_all_that_it_was_exported_with,
    a_known_id_is_known_whatever_its_secret,
    a_pool_that_is_exported_and_added_again_is_the_same_pool,
}

fn secrets(prefix: &str, count: usize) -> Vec<Secret> {
    // A scattered text, so that its own order is not that of the lines.
    (0..count).map(|n| secret(&format!("sk-{:05}-{prefix}{n}", n * 7919 % 10_007))).collect()
}

fn new_id(added: &Added) -> KeyId {
    match added {
        Added::New(id) => *id,
        Added::Known => panic!("it was known"),
    }
}

async fn a_new_key_is_fresh(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        let secrets = secrets("a", 3);
        let added = t.add(&pool, &secrets).await;
        let ids: Vec<KeyId> = added.iter().map(new_id).collect();
        assert!(ids.is_sorted() && ids.len() == 3);
        for (id, secret) in ids.iter().zip(&secrets) {
            let Key { id: seen, secret: text, usage_count, last_used, is_active, open_leases, resting_until, .. } =
                t.store.look_up(&pool, &KeyRef::Secret(secret.clone())).await.unwrap().unwrap().value;
            assert_eq!((seen, text.unwrap().expose()), (*id, secret.expose()));
            assert_eq!((usage_count, last_used, is_active), (UsageCount::Whole(0), None, true));
            assert_eq!((open_leases, resting_until), (Some(0), None));
            assert_eq!(t.hidden(&pool, *id).await.disabled_reason, None);
        }
        assert_eq!(t.lease(&pool).await.id, ids[0]);
    }
}

async fn a_known_key_is_left_as_it_is_and_told(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let known = Planted {
            is_active: false,
            disabled_reason: Some("operator"),
            last_used: Some(5),
            order: Some(-1),
            leases: vec![9],
            ..Planted::counted(3)
        };
        let pool = t.pool(policy, std::slice::from_ref(&known)).await;
        let before = format!("{:?}", t.key(&pool, known.id).await);
        let [first, last] = [secret("sk-first"), secret("sk-last")];
        let all = [first.clone(), secret(&known.secret), last.clone()];
        let added = t.add(&pool, &all).await;
        assert!(matches!(added[..], [Added::New(_), Added::Known, Added::New(_)]), "{added:?}");
        assert_eq!(format!("{:?}", t.key(&pool, known.id).await), before);
        assert_eq!(t.hidden(&pool, known.id).await.order, Some(-1));
        assert_eq!(t.add(&pool, &all).await, [Added::Known; 3]);
        assert_eq!(t.all(&pool).await.value.len(), 3);
        for (added, secret) in added.iter().zip(&all) {
            let seen = t.store.look_up(&pool, &KeyRef::Secret(secret.clone())).await.unwrap().unwrap();
            assert!(*added == Added::Known || new_id(added) == seen.value.id);
        }
    }
}

async fn the_same_secret_twice_in_one_call_is_added_once(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    let [a, b] = [secret("sk-a"), secret("sk-b")];
    let added = t.add(&pool, &[a.clone(), b.clone(), a.clone(), a, b]).await;
    assert!(matches!(added[..], [Added::New(_), Added::New(_), Added::Known, Added::Known, Added::Known]), "{added:?}");
    assert_eq!(t.by_place(&pool).await, ["sk-a", "sk-b"]);
}

async fn nothing_to_add_is_nothing_added(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        assert_eq!(t.add(&pool, &[]).await, []);
        assert_eq!(t.all(&pool).await.value.len(), 0);
    }
}

async fn the_same_secret_may_be_a_key_of_several_pools(t: &TestStore) {
    let (one, other) = (t.pool(least_recently_used(4), &[]).await, t.pool(in_order(4), &[]).await);
    let secrets = [secret("sk-shared")];
    let added = [t.add(&one, &secrets).await[0], t.add(&other, &secrets).await[0]];
    assert_ne!(new_id(&added[0]), new_id(&added[1]));
    t.lease(&one).await;
    assert_eq!(t.uses(&other, new_id(&added[1])).await, (0, 0));
}

async fn ten_thousand_keys_come_in_the_order_of_their_lines(t: &TestStore) {
    let pool = t.pool(in_order(1), &[]).await;
    let lines = secrets("line", 10_000);
    let mut ids = BTreeSet::new();
    for batch in lines.chunks(1000) {
        ids.extend(t.add(&pool, batch).await.iter().map(new_id));
    }
    assert_eq!(ids.len(), lines.len());
    let expected: Vec<&str> = lines.iter().map(Secret::expose).collect();
    assert_eq!(t.by_place(&pool).await, expected);
    for line in &expected[..20] {
        assert_eq!(t.store.take(&pool, 1).await.unwrap().unwrap().secret.expose(), *line);
    }
}

async fn imports_at_once_keep_their_own_order_and_never_share_a_place(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    let instances = [t.store.clone(), t.another_instance().await];
    let imports = (0..6).map(|n| {
        let (store, pool) = (instances[n % 2].clone(), pool.clone());
        let lines = secrets(&format!("{}-", ["a", "b", "c", "d", "e", "f"][n]), 60);
        tokio::spawn(async move {
            for batch in lines.chunks(20) {
                let added = store.add(&pool, &fresh(batch)).await.unwrap();
                added.verdicts.iter().for_each(|added| _ = new_id(added));
            }
            lines
        })
    });
    let mut all = Vec::new();
    for import in imports.collect::<Vec<_>>() {
        all.push(import.await.unwrap());
    }
    let by_place = t.by_place(&pool).await;
    for lines in all {
        let expected: Vec<&str> = lines.iter().map(Secret::expose).collect();
        let seen: Vec<&str> = by_place.iter().map(String::as_str).filter(|text| expected.contains(text)).collect();
        assert_eq!(seen, expected);
    }
    let mut places = BTreeSet::new();
    for key in t.all(&pool).await.value {
        assert!(places.insert(t.hidden(&pool, key.id).await.order.expect("a place")), "a place is shared");
    }
    assert_eq!(places.len(), 360);
}

async fn the_longest_secret_can_be_added_and_found(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    // Texts that PostgreSQL or an index would have trouble with if they were cut or folded.
    let texts =
        ["~".repeat(4096), format!("{}!", "~".repeat(4095)), "A".to_owned(), "a".to_owned(), "%_\\\"'".to_owned()];
    let secrets = texts.each_ref().map(|text| secret(text));
    let ids: BTreeSet<KeyId> = t.add(&pool, &secrets).await.iter().map(new_id).collect();
    assert_eq!(ids.len(), 5);
    for secret in secrets {
        let seen = t.store.look_up(&pool, &KeyRef::Secret(secret.clone())).await.unwrap().unwrap();
        assert_eq!(seen.value.secret.unwrap().expose(), secret.expose());
        assert_eq!(t.lease(&pool).await.secret.expose(), secret.expose());
    }
}

/// A key of which everything is told.
fn told(id: [u8; 12], text: &str) -> NewKey {
    NewKey {
        secret: secret(text),
        id: Some(KeyId::from_bytes(id)),
        usage_count: 3,
        last_used: Some(Timestamp::from_millis(5)),
        is_active: false,
        resting_until: Some(Timestamp::from_millis(6)),
        disabled_reason: Some(DisabledReason::Exhausted),
        note: Some("$api_key".to_owned()),
        added_at: Some(Timestamp::from_millis(-7)),
        from_file: true,
    }
}

async fn a_key_comes_with_all_that_it_was_exported_with(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        let first = t.now(&pool).await;
        let keys = [told([9; 12], "sk-told"), NewKey { usage_count: u64::MAX, ..NewKey::fresh(secret("sk-new")) }];
        let added = t.store.add(&pool, &keys).await.unwrap();
        let last = t.now(&pool).await;
        let id = KeyId::from_bytes([9; 12]);
        assert_eq!(added.verdicts[0], Added::New(id));
        let KeyRecord { key, leases, disabled_reason, note, added_at, from_file, .. } = t.record(&pool, id).await;
        assert_eq!((key.id, key.secret.unwrap().expose(), key.usage_count), (id, "sk-told", UsageCount::Whole(3)));
        assert_eq!((key.last_used, key.is_active), (Some(Timestamp::from_millis(5)), false));
        assert_eq!(
            (key.resting_until, disabled_reason),
            (Some(Timestamp::from_millis(6)), Some(DisabledReason::Exhausted))
        );
        assert_eq!((note.as_deref(), added_at), (Some("$api_key"), Some(Timestamp::from_millis(-7))));
        assert!(leases.is_empty() && from_file);
        let fresh = t.record(&pool, new_id(&added.verdicts[1])).await;
        assert_between(first, fresh.added_at.expect("it was added now"), last);
        // More than a count can be is as much as it can be, and never invalid.
        assert_eq!(fresh.key.usage_count, UsageCount::Whole(1 << 53));
    }
}

async fn a_known_id_is_known_whatever_its_secret(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        let keys = [told([1; 12], "sk-1"), told([1; 12], "sk-2"), told([2; 12], "sk-1"), told([3; 12], "sk-3")];
        let added = t.store.add(&pool, &keys).await.unwrap().verdicts;
        let [one, three] = [1, 3].map(|byte| Added::New(KeyId::from_bytes([byte; 12])));
        assert_eq!(added, [one, Added::Known, Added::Known, three]);
        assert_eq!(t.store.add(&pool, &keys).await.unwrap().verdicts, [Added::Known; 4]);
        assert_eq!(t.all(&pool).await.value.len(), 2);
    }
}

async fn a_pool_that_is_exported_and_added_again_is_the_same_pool(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let reasons = [None, Some("rejected"), Some("operator")];
        let keys: Vec<Planted> = (0..9)
            .map(|n: i64| Planted {
                is_active: n % 3 == 0,
                disabled_reason: reasons[(n % 3) as usize],
                last_used: (n % 2 > 0).then_some(n),
                resting_until: (n % 4 > 2).then_some(n),
                order: Some(50 - n),
                ..Planted::counted(n)
            })
            .collect();
        let pool = t.pool(policy, &keys).await;
        let exported = t.records(&pool).await.value;
        let copy = Policy { collection: format!("{}_copy", pool.collection), ..pool.clone() };
        t.pool(copy.clone(), &[]).await;
        let again: Vec<NewKey> = exported.iter().map(as_new).collect();
        let added = t.store.add(&copy, &again).await.unwrap();
        assert_eq!(
            added.verdicts.iter().map(new_id).collect::<Vec<_>>(),
            exported.iter().map(|r| r.key.id).collect::<Vec<_>>()
        );
        let order = |record: KeyRecord| KeyRecord { order: None, added_at: None, ..record };
        let copied = t.records(&copy).await.value;
        assert_eq!(
            copied.into_iter().map(order).map(|record| format!("{record:?}")).collect::<Vec<_>>(),
            exported.into_iter().map(order).map(|record| format!("{record:?}")).collect::<Vec<_>>()
        );
        assert_eq!(t.store.stats(&copy, 4).await.unwrap().keys.of(State::Usable), 2);
    }
}

fn as_new(record: &KeyRecord) -> NewKey {
    NewKey {
        secret: record.key.secret.clone().expect("a valid key"),
        id: Some(record.key.id),
        usage_count: record.key.usage_count.whole().expect("a valid key"),
        last_used: record.key.last_used,
        is_active: record.key.is_active,
        resting_until: record.key.resting_until,
        disabled_reason: record.disabled_reason,
        note: record.note.clone(),
        added_at: record.added_at,
        from_file: record.from_file,
    }
}
