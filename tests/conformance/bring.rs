//! bring and withdraw: the keys of a key file come with their lines, go with them, and stay away where an operator took
//! them out.

use keylend::domain::{DisabledReason, KeyChange, KeyId, KeyRecord, KeyRef, NewKey, Policy, Secret, State, UsageCount};
use keylend::store::{Added, Brought, Changed};

use crate::support::{Planted, TestStore, eventually, in_order, lease_id, least_recently_used, secret};

on_both_stores! {
    keys_of_a_file_come_in_its_order_and_once,
    a_known_key_becomes_the_files_and_is_left_as_it_is_otherwise,
    a_line_that_goes_withdraws_its_key_and_brings_it_back,
    only_active_keys_of_the_file_are_withdrawn,
    what_an_operator_or_a_report_disabled_is_not_brought_back,
    a_key_that_an_operator_enables_is_no_longer_the_files,
    a_removed_key_is_not_brought_again_until_it_is_added,
    a_key_that_is_removed_while_others_are_brought_stays_away,
    another_secret_leaves_the_file_and_the_old_one_stays_away,
    the_same_secret_again_leaves_the_file_as_it_was,
    a_key_removed_from_one_pool_is_brought_into_another,
    a_count_is_taken_once_and_by_a_key_that_was_never_used,
    two_instances_bring_the_same_keys_once,
    nothing_brought_and_nothing_withdrawn_is_nothing,
}

fn of_file(texts: &[&str]) -> Vec<NewKey> {
    texts.iter().map(|text| NewKey::of_file(secret(text))).collect()
}

impl TestStore {
    async fn bring(&self, pool: &Policy, texts: &[&str]) -> Vec<Brought> {
        self.store.bring(pool, &of_file(texts)).await.unwrap()
    }

    async fn bring_new(&self, pool: &Policy, text: &str) -> KeyId {
        match self.bring(pool, &[text]).await[..] {
            [Brought::New(id)] => id,
            ref other => panic!("{other:?}"),
        }
    }

    async fn withdraw(&self, pool: &Policy, id: KeyId) -> u64 {
        self.store.withdraw(pool, &[id]).await.unwrap()
    }

    async fn change(&self, pool: &Policy, id: KeyId, change: KeyChange) -> KeyRecord {
        match self.store.change(pool, id, &change).await.unwrap() {
            Changed::Changed(seen) => seen.value,
            other => panic!("{other:?}"),
        }
    }
}

fn told(record: &KeyRecord) -> (bool, Option<DisabledReason>, bool) {
    (record.key.is_active, record.disabled_reason, record.from_file)
}

fn switched(is_active: bool) -> KeyChange {
    KeyChange { is_active: Some(is_active), ..KeyChange::default() }
}

const WITHDRAWN: (bool, Option<DisabledReason>, bool) = (false, Some(DisabledReason::RemovedFromFile), true);

async fn keys_of_a_file_come_in_its_order_and_once(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        let brought = t.bring(&pool, &["sk-c", "sk-a", "sk-b"]).await;
        assert!(brought.iter().all(|brought| matches!(brought, Brought::New(_))), "{brought:?}");
        assert_eq!(t.bring(&pool, &["sk-b", "sk-c", "sk-a"]).await, [Brought::Known; 3]);
        let records = t.records(&pool).await.value;
        assert_eq!(records.len(), 3);
        for record in &records {
            assert_eq!(told(record), (true, None, true));
            assert_eq!((record.key.usage_count, record.key.last_used), (UsageCount::Whole(0), None));
        }
        assert_eq!(t.lease(&pool).await.secret.expose(), "sk-c");
    }
    assert_eq!(t.by_place(&in_order(4)).await, ["sk-c", "sk-a", "sk-b"]);
}

async fn a_known_key_becomes_the_files_and_is_left_as_it_is_otherwise(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let known = [
            Planted { last_used: Some(7), order: Some(3), leases: vec![i64::MAX / 1000], ..Planted::counted(2) },
            Planted { is_active: false, disabled_reason: Some("operator"), ..Planted::counted(4) },
            Planted { is_active: false, disabled_reason: Some("removed_from_file"), ..Planted::counted(1) },
        ];
        let pool = t.pool(policy, &known).await;
        let before = t.records(&pool).await.value;
        assert!(before.iter().all(|record| !record.from_file));
        let texts: Vec<&str> = known.iter().map(|key| key.secret.as_str()).collect();
        for _ in 0..2 {
            let brought = t.bring(&pool, &[texts[0], "sk-new", texts[1], texts[2]]).await;
            assert!(matches!(brought[..], [Brought::Known, _, Brought::Known, Brought::Known]), "{brought:?}");
        }
        for mut expected in before {
            expected.from_file = true;
            if expected.disabled_reason == Some(DisabledReason::RemovedFromFile) {
                (expected.key.is_active, expected.disabled_reason) = (true, None);
            }
            let now = t.record(&pool, expected.key.id).await;
            assert_eq!(format!("{now:?}"), format!("{expected:?}"));
        }
    }
}

async fn a_line_that_goes_withdraws_its_key_and_brings_it_back(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        let id = t.bring_new(&pool, "sk-a").await;
        let leased = t.lease(&pool).await;
        t.store.take(&pool, 1).await.unwrap().unwrap();
        assert_eq!(t.withdraw(&pool, id).await, 1);
        assert_eq!(told(&t.record(&pool, id).await), WITHDRAWN);
        t.assert_no_usable_key(&pool).await;
        assert_eq!(t.withdraw(&pool, id).await, 0);
        assert_eq!(t.bring(&pool, &["sk-a"]).await, [Brought::Known]);
        assert_eq!(told(&t.record(&pool, id).await), (true, None, true));
        // Neither its count nor its lease went anywhere.
        assert_eq!(t.uses(&pool, id).await, (1, 1));
        assert!(t.store.find_lease(&pool, &lease_id(&pool, &leased)).await.unwrap().is_some());
    }
}

async fn only_active_keys_of_the_file_are_withdrawn(t: &TestStore) {
    let others = Planted::new();
    let pool = t.pool(in_order(4), std::slice::from_ref(&others)).await;
    let [theirs, off] = [t.bring_new(&pool, "sk-a").await, t.bring_new(&pool, "sk-b").await];
    t.change(&pool, off, switched(false)).await;
    let gone = KeyId::from_bytes([7; 12]);
    assert_eq!(t.store.withdraw(&pool, &[others.id, theirs, off, gone]).await.unwrap(), 1);
    assert_eq!(told(&t.record(&pool, others.id).await), (true, None, false));
    assert_eq!(told(&t.record(&pool, theirs).await), WITHDRAWN);
    assert_eq!(told(&t.record(&pool, off).await), (false, Some(DisabledReason::Operator), true));
}

async fn what_an_operator_or_a_report_disabled_is_not_brought_back(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    for reason in DisabledReason::ALL {
        let text = format!("sk-{}", reason.as_str());
        let id = t.bring_new(&pool, &text).await;
        t.switch_off(&pool, id, reason.as_str()).await;
        assert_eq!(t.bring(&pool, &[&text]).await, [Brought::Known]);
        let back = reason == DisabledReason::RemovedFromFile;
        assert_eq!(told(&t.record(&pool, id).await), (back, (!back).then_some(reason), true));
    }
}

async fn a_key_that_an_operator_enables_is_no_longer_the_files(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    let id = t.bring_new(&pool, "sk-a").await;
    // One that was not withdrawn stays the file's.
    t.change(&pool, id, switched(false)).await;
    assert_eq!(told(&t.change(&pool, id, switched(true)).await), (true, None, true));
    t.withdraw(&pool, id).await;
    assert_eq!(told(&t.change(&pool, id, switched(true)).await), (true, None, false));
    assert_eq!(t.withdraw(&pool, id).await, 0);
    // Its line comes back, and so it is the file's again.
    t.bring(&pool, &["sk-a"]).await;
    assert_eq!(t.withdraw(&pool, id).await, 1);
    // Who disables a withdrawn key means it: the line does not bring it back.
    t.change(&pool, id, switched(false)).await;
    t.bring(&pool, &["sk-a"]).await;
    assert_eq!(told(&t.record(&pool, id).await), (false, Some(DisabledReason::Operator), true));
}

async fn a_removed_key_is_not_brought_again_until_it_is_added(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        let id = t.bring_new(&pool, "sk-a").await;
        assert!(t.store.remove(&pool, id).await.unwrap());
        for _ in 0..2 {
            let brought = t.bring(&pool, &["sk-a", "sk-b"]).await;
            assert_eq!(brought[0], Brought::Removed);
        }
        assert_eq!(t.records(&pool).await.value.len(), 1);
        assert!(matches!(t.add(&pool, &[secret("sk-a")]).await[..], [Added::New(_)]));
        assert_eq!(t.bring(&pool, &["sk-a"]).await, [Brought::Known]);
        // That it was added is remembered, and that it was removed before is not.
        let record = t.records(&pool).await.value.into_iter().find(|record| text(record) == "sk-a").unwrap();
        assert!(record.from_file);
        assert!(t.store.remove(&pool, record.key.id).await.unwrap());
        assert_eq!(t.bring(&pool, &["sk-a"]).await, [Brought::Removed]);
        // One that was never the file's leaves nothing behind.
        let [Added::New(id)] = t.add(&pool, &[secret("sk-c")]).await[..] else { panic!() };
        assert!(t.store.remove(&pool, id).await.unwrap());
        t.bring_new(&pool, "sk-c").await;
    }
}

async fn a_key_that_is_removed_while_others_are_brought_stays_away(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    // So that there is something to be forgotten.
    let id = t.bring_new(&pool, "sk-before").await;
    assert!(t.store.remove(&pool, id).await.unwrap());
    let keys: Vec<NewKey> = (0..1000).map(|n| NewKey::of_file(secret(&format!("sk-{n:04}")))).collect();
    let bringing = {
        let (store, pool, keys) = (t.store.clone(), pool.clone(), keys.clone());
        tokio::spawn(async move { store.bring(&pool, &keys).await.unwrap() })
    };
    // Removed as soon as it is seen: of a store that adds one after the other, long before the last one is there.
    let first = KeyRef::Secret(keys[0].secret.clone());
    let seen = eventually("the first key is there", async || t.store.look_up(&pool, &first).await.unwrap()).await;
    assert!(t.store.remove(&pool, seen.value.id).await.unwrap());
    bringing.await.unwrap();
    assert_eq!(t.store.bring(&pool, &keys[..1]).await.unwrap(), [Brought::Removed]);
}

fn text(record: &KeyRecord) -> &str {
    record.key.secret.as_ref().map(Secret::expose).unwrap()
}

async fn another_secret_leaves_the_file_and_the_old_one_stays_away(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    let id = t.bring_new(&pool, "sk-old").await;
    let renamed = KeyChange { secret: Some(secret("sk-new")), ..KeyChange::default() };
    for _ in 0..2 {
        let record = t.change(&pool, id, renamed.clone()).await;
        assert_eq!((told(&record), text(&record)), ((true, None, false), "sk-new"));
    }
    assert_eq!(t.bring(&pool, &["sk-old"]).await, [Brought::Removed]);
    assert_eq!(t.withdraw(&pool, id).await, 0);
    assert_eq!(t.records(&pool).await.value.len(), 1);
}

async fn the_same_secret_again_leaves_the_file_as_it_was(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    let id = t.bring_new(&pool, "sk-a").await;
    let same = KeyChange { secret: Some(secret("sk-a")), ..switched(true) };
    assert_eq!(told(&t.change(&pool, id, same.clone()).await), (true, None, true));
    assert_eq!(t.bring(&pool, &["sk-a"]).await, [Brought::Known]);
    // Nor does it keep the key away that leaves the file for another reason.
    t.withdraw(&pool, id).await;
    assert_eq!(told(&t.change(&pool, id, same).await), (true, None, false));
    assert!(t.store.remove(&pool, id).await.unwrap());
    t.bring_new(&pool, "sk-a").await;
}

async fn a_key_removed_from_one_pool_is_brought_into_another(t: &TestStore) {
    let (one, other) = (t.pool(least_recently_used(4), &[]).await, t.pool(in_order(4), &[]).await);
    let id = t.bring_new(&one, "sk-a").await;
    assert!(t.store.remove(&one, id).await.unwrap());
    t.bring_new(&other, "sk-a").await;
    assert_eq!(t.bring(&one, &["sk-a"]).await, [Brought::Removed]);
}

async fn a_count_is_taken_once_and_by_a_key_that_was_never_used(t: &TestStore) {
    let [never, used, counted, leased] = [
        Planted::new(),
        Planted { last_used: Some(7), ..Planted::new() },
        Planted::counted(1),
        Planted { leases: vec![i64::MAX / 1000], ..Planted::new() },
    ];
    let all = [never.clone(), used.clone(), counted.clone(), leased.clone()];
    let pool = t.pool(in_order(9), &all).await;
    let with_count = |text: &str, usage_count| NewKey { usage_count, ..NewKey::of_file(secret(text)) };
    let mut keys: Vec<NewKey> = all.iter().map(|key| with_count(&key.secret, 5)).collect();
    keys.push(with_count("sk-new", 5));
    let new = match t.store.bring(&pool, &keys).await.unwrap()[..] {
        [Brought::Known, Brought::Known, Brought::Known, Brought::Known, Brought::New(id)] => id,
        ref other => panic!("{other:?}"),
    };
    for (id, expected) in [(never.id, 5), (used.id, 0), (counted.id, 1), (leased.id, 0), (new, 5)] {
        assert_eq!(t.uses(&pool, id).await.0, expected);
        assert!(t.record(&pool, id).await.from_file);
    }
    // Counted anew, and brought again with a count: it is the file's already.
    t.store.reset(&pool, &[never.id, new]).await.unwrap();
    t.forget_use(&pool).await;
    assert_eq!(t.store.bring(&pool, &keys).await.unwrap(), [Brought::Known; 5]);
    assert_eq!((t.uses(&pool, never.id).await.0, t.uses(&pool, new).await.0), (0, 0));
}

async fn two_instances_bring_the_same_keys_once(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    let keys: Vec<NewKey> = (0..200).map(|n| NewKey::of_file(secret(&format!("sk-{n:03}")))).collect();
    let instances = [t.store.clone(), t.another_instance().await];
    let bringing = (0..4).map(|n| {
        let (store, pool, keys) = (instances[n % 2].clone(), pool.clone(), keys.clone());
        tokio::spawn(async move { store.bring(&pool, &keys).await.unwrap() })
    });
    let mut new = 0;
    for brought in bringing.collect::<Vec<_>>() {
        new += brought.await.unwrap().iter().filter(|brought| matches!(brought, Brought::New(_))).count();
    }
    let records = t.records(&pool).await.value;
    assert_eq!((new, records.len()), (200, 200));
    assert!(records.iter().all(|record| record.from_file));
}

async fn nothing_brought_and_nothing_withdrawn_is_nothing(t: &TestStore) {
    let pool = t.pool(in_order(4), &[Planted::new()]).await;
    assert_eq!(t.store.bring(&pool, &[]).await.unwrap(), []);
    assert_eq!(t.store.withdraw(&pool, &[]).await.unwrap(), 0);
    assert_eq!(t.store.stats(&pool, 4).await.unwrap().keys.of(State::Usable), 1);
}
