//! change: what an operator sets of a key, all of it or nothing.

use std::time::Duration;

use keylend::domain::state::state;
use keylend::domain::{DisabledReason, KeyChange, KeyId, KeyRecord, KeyRef, Outcome, Policy, Rest, State, UsageCount};
use keylend::store::{Changed, Seen};

use crate::support::{HOUR, Planted, TestStore, assert_between, in_order, least_recently_used, repeatable, secret};

on_both_stores! {
    every_change_of_every_kind_of_key_is_as_the_domain_says,
    a_key_that_is_not_there_is_not_changed,
    another_keys_secret_changes_nothing,
    a_new_secret_drops_the_leases_of_the_old_one,
    a_change_that_is_repeated_keeps_what_was_lent_since,
    a_rest_is_from_now_on_and_never_shortened,
    a_note_is_kept_as_it_is,
    a_disabled_key_comes_back_by_its_switch,
}

async fn change(t: &TestStore, pool: &Policy, id: KeyId, change: &KeyChange) -> Seen<KeyRecord> {
    match t.store.change(pool, id, change).await.unwrap() {
        Changed::Changed(seen) => *seen,
        other => panic!("not changed: {other:?}"),
    }
}

fn every_change() -> Vec<KeyChange> {
    let nothing = KeyChange::default;
    let mut changes = vec![nothing()];
    for secret_text in [None, Some("sk-changed")] {
        for is_active in [None, Some(true), Some(false)] {
            for usage_count in [None, Some(0), Some(3)] {
                for rest in [None, Some(Rest::End)] {
                    let secret = secret_text.map(secret);
                    let note = usage_count.map(|count| (count > 0).then(|| "noted".to_owned()));
                    changes.push(KeyChange { is_active, usage_count, rest, note, secret });
                }
            }
        }
    }
    changes
}

/// Compares all that can be seen of a key, its secret too.
fn seen(record: &KeyRecord) -> String {
    format!("{record:?} {:?}", record.key.secret.as_ref().map(|secret| secret.expose().to_owned()))
}

async fn every_change_of_every_kind_of_key_is_as_the_domain_says(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    let reasons = [None, Some("rejected"), Some("exhausted"), Some("operator"), Some("removed_from_file")];
    let mut kinds = Vec::new();
    for disabled_reason in reasons {
        for resting_until in [None, Some(5), Some(HOUR * 1_000_000)] {
            let is_active = disabled_reason.is_none();
            let leases = if is_active { vec![7, HOUR * 1_000_000] } else { Vec::new() };
            let order = is_active.then_some(4);
            kinds.push(Planted { disabled_reason, is_active, resting_until, leases, order, ..Planted::counted(2) });
        }
    }
    for one in every_change() {
        let keys: Vec<Planted> = kinds
            .iter()
            .map(|kind| {
                let Planted { id, secret, .. } = Planted::new();
                Planted { id, secret, ..kind.clone() }
            })
            .collect();
        for key in keys {
            t.plant(&pool, std::slice::from_ref(&key)).await;
            let mut expected = t.record(&pool, key.id).await;
            one.apply(&mut expected, t.now(&pool).await);
            let changed = change(t, &pool, key.id, &one).await;
            assert_eq!(seen(&changed.value), seen(&expected), "{one:?} of {key:?}");
            assert_eq!(seen(&t.record(&pool, key.id).await), seen(&expected), "{one:?} of {key:?}");
            t.store.remove(&pool, key.id).await.unwrap();
        }
    }
}

async fn a_key_that_is_not_there_is_not_changed(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    for one in every_change() {
        let changed = t.store.change(&pool, KeyId::from_bytes([7; 12]), &one).await.unwrap();
        assert!(matches!(changed, Changed::UnknownKey), "{changed:?}");
    }
    assert_eq!(t.all(&pool).await.value.len(), 1);
}

async fn another_keys_secret_changes_nothing(t: &TestStore) {
    let keys = [Planted { resting_until: Some(9), leases: vec![HOUR], ..Planted::counted(2) }, Planted::new()];
    let pool = t.pool(least_recently_used(4), &keys).await;
    let before = format!("{:?}", t.records(&pool).await.value);
    let taken = KeyChange {
        secret: Some(secret(&keys[1].secret)),
        is_active: Some(false),
        usage_count: Some(1),
        rest: Some(Rest::End),
        note: Some(Some("no".to_owned())),
    };
    let changed = t.store.change(&pool, keys[0].id, &taken).await.unwrap();
    assert!(matches!(changed, Changed::KnownSecret), "{changed:?}");
    assert_eq!(format!("{:?}", t.records(&pool).await.value), before);
    // Its own secret is nobody else's.
    change(t, &pool, keys[1].id, &taken).await;
}

async fn a_new_secret_drops_the_leases_of_the_old_one(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[Planted::counted(1)]).await;
        let request = repeatable("web", &pool, "order-1");
        let leased = t.lease_as(&pool, &request).await;
        let renamed = KeyChange { secret: Some(secret("sk-renamed")), ..KeyChange::default() };
        let changed = change(t, &pool, leased.id, &renamed).await;
        assert_eq!((changed.value.key.usage_count, changed.value.key.open_leases), (UsageCount::Whole(0), Some(0)));
        assert!(t.report(&pool, &leased, Outcome::Used).await.is_none());
        assert_eq!(t.uses(&pool, leased.id).await, (0, 0));
        assert!(t.store.look_up(&pool, &KeyRef::Secret(leased.secret.clone())).await.unwrap().is_none());
        assert!(t.store.find_same(&pool, &request).await.unwrap().is_none());
        // The same request gets a lease of the new secret.
        let again = t.lease_as(&pool, &repeatable("web", &pool, "order-1")).await;
        assert_eq!((again.id, again.secret.expose()), (leased.id, "sk-renamed"));
        for _ in 0..3 {
            t.lease(&pool).await;
        }
        t.assert_no_usable_key(&pool).await;
    }
}

async fn a_change_that_is_repeated_keeps_what_was_lent_since(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::counted(4)]).await;
    let id = t.all(&pool).await.value[0].id;
    let renamed = KeyChange { secret: Some(secret("sk-renamed")), ..KeyChange::default() };
    change(t, &pool, id, &renamed).await;
    let leased = t.lease(&pool).await;
    t.store.increment_usage(&pool, &KeyRef::Id(id)).await.unwrap();
    change(t, &pool, id, &renamed).await;
    assert_eq!(t.uses(&pool, id).await, (1, 1));
    assert!(t.report(&pool, &leased, Outcome::Used).await.is_some());
}

async fn a_rest_is_from_now_on_and_never_shortened(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    let id = t.all(&pool).await.value[0].id;
    let rest = |seconds| KeyChange { rest: Some(Rest::For(Duration::from_secs(seconds))), ..KeyChange::default() };
    let first = t.now(&pool).await;
    let resting = change(t, &pool, id, &rest(60)).await;
    let until = resting.value.key.resting_until.unwrap();
    let minute = Duration::from_secs(60);
    assert_between(first.plus(minute), until, t.now(&pool).await.plus(minute));
    assert_eq!(state(&resting.value.key, 4, resting.now), State::Resting);
    t.assert_no_usable_key(&pool).await;
    assert_eq!(change(t, &pool, id, &rest(1)).await.value.key.resting_until, Some(until));
    let later = change(t, &pool, id, &rest(90)).await.value.key.resting_until.unwrap();
    assert!(later.since(until) >= Duration::from_secs(30));
    // Another secret begins with the rest that it is given, whatever the old one had.
    let renamed = KeyChange { secret: Some(secret("sk-renamed")), ..rest(5) };
    let sooner = change(t, &pool, id, &renamed).await.value.key.resting_until.unwrap();
    assert!(sooner < until);
    let ended = KeyChange { rest: Some(Rest::End), ..KeyChange::default() };
    assert_eq!(change(t, &pool, id, &ended).await.value.key.resting_until, None);
    assert_eq!(t.lease(&pool).await.id, id);
}

async fn a_note_is_kept_as_it_is(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    let id = t.all(&pool).await.value[0].id;
    for note in ["", "$api_key", "$$ROOT", "{\"$literal\": 1}", "it's \"Bob\" -- ü \u{1f511}\n", "a\\b"] {
        let noted = KeyChange { note: Some(Some(note.to_owned())), ..KeyChange::default() };
        assert_eq!(change(t, &pool, id, &noted).await.value.note.as_deref(), Some(note));
        assert_eq!(t.record(&pool, id).await.note.as_deref(), Some(note));
        let all = KeyChange { is_active: Some(true), ..KeyChange::default() };
        assert_eq!(change(t, &pool, id, &all).await.value.note.as_deref(), Some(note));
    }
    let gone = KeyChange { note: Some(None), ..KeyChange::default() };
    assert_eq!(change(t, &pool, id, &gone).await.value.note, None);
}

async fn a_disabled_key_comes_back_by_its_switch(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    let leased = t.lease(&pool).await;
    t.report(&pool, &leased, Outcome::Rejected).await.unwrap();
    assert_eq!(t.record(&pool, leased.id).await.disabled_reason, Some(DisabledReason::Rejected));
    let switch = |is_active| KeyChange { is_active: Some(is_active), ..KeyChange::default() };
    let off = change(t, &pool, leased.id, &switch(false)).await.value;
    assert_eq!((off.key.is_active, off.disabled_reason), (false, Some(DisabledReason::Operator)));
    t.assert_no_usable_key(&pool).await;
    let on = change(t, &pool, leased.id, &switch(true)).await.value;
    assert_eq!((on.key.is_active, on.disabled_reason), (true, None));
    assert_eq!(t.lease(&pool).await.id, leased.id);
}
