//! add: new keys in the order given, and what became of each.

use std::collections::BTreeSet;

use keylend::domain::{Key, KeyId, KeyRef, Secret, UsageCount};
use keylend::store::Added;

use crate::support::{Planted, TestStore, fresh, in_order, least_recently_used, secret};

on_both_stores! {
    a_new_key_is_fresh,
    a_known_key_is_left_as_it_is_and_told,
    the_same_secret_twice_in_one_call_is_added_once,
    nothing_to_add_is_nothing_added,
    the_same_secret_may_be_a_key_of_several_pools,
    ten_thousand_keys_come_in_the_order_of_their_lines,
    imports_at_once_keep_their_own_order_and_never_share_a_place,
    the_longest_secret_can_be_added_and_found,
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
