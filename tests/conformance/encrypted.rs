//! Secrets that are encrypted where they are stored: kept, found, moved and lost.

use keylend::domain::state::state;
use keylend::domain::{KeyChange, KeyId, KeyRef, Outcome, Policy, State};
use keylend::store::vault::{DigestKey, EncryptionKey, NotOpened, Vault};
use keylend::store::{Added, Brought, Changed, Keeping, KeptAnew, LeaseAnswer, Page, StoreError};

use crate::support::{TestStore, fresh, in_order, lease_id, least_recently_used, page, repeatable, request, secret};

on_both_stores! {
    what_is_stored_is_not_the_secret,
    every_way_to_a_key_opens_it,
    a_secret_is_one_key_encrypted_or_not,
    keys_are_encrypted_decrypted_and_rotated_beside_their_leases,
    two_keys_with_one_secret_stay_as_they_are,
    what_was_moved_to_another_document_is_never_handed_out,
    a_crowd_gets_the_keys_that_can_be_read,
    a_lease_whose_key_cannot_be_read_here_stays_its_holders,
    what_was_given_up_can_be_tried_again,
    what_another_instance_cannot_open_is_invalid_there_alone,
    another_key_under_a_known_name_is_refused,
    what_an_operator_removed_is_remembered_without_its_secret,
}

fn vault(names: &[&str]) -> Vault {
    let key = |name: &&str| EncryptionKey::new(name, [name.as_bytes()[0]; 32]).expect("a name");
    Vault::new(names.iter().map(key).collect(), DigestKey::new([7; 32]))
}

fn encrypted(pool: Policy) -> Policy {
    Policy { encrypt: true, ..pool }
}

/// An instance with these keys, and a pool of its own with these secrets, encrypted.
async fn pool_of(
    t: &TestStore,
    vault: Vault,
    pool: Policy,
    secrets: &[&str],
) -> (std::sync::Arc<dyn keylend::store::Store>, Policy, Vec<KeyId>) {
    let store = t.instance_with(vault).await;
    let pool = encrypted(Policy { collection: "encrypted_api_keys".to_owned(), ..pool });
    store.prepare(&pool).await.unwrap();
    let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
    let added = store.add(&pool, &fresh(&secrets)).await.unwrap().verdicts;
    let ids = added.into_iter().map(|added| match added {
        Added::New(id) => id,
        Added::Known => panic!("it was known"),
    });
    (store, pool, ids.collect())
}

async fn what_is_stored_is_not_the_secret(t: &TestStore) {
    for pool in [least_recently_used(4), in_order(4)] {
        let pool = Policy { collection: format!("{}_more", pool.collection), ..pool };
        let (_, pool, ids) = pool_of(t, vault(&["b", "a"]), pool, &["sk-recognisable"]).await;
        let (api_key, sealed, by) = t.kept(&pool, ids[0]).await;
        assert!(api_key.starts_with("keylend-sealed:") && !api_key.contains("recognisable"), "{api_key}");
        let sealed = sealed.expect("it is encrypted");
        assert!(!sealed.windows(5).any(|part| part == b"recog"), "{sealed:?}");
        assert_eq!(by.as_deref(), Some("b"));
        let store = t.instance_with(vault(&["a"])).await;
        store.remove(&pool, ids[0]).await.unwrap();
    }
}

async fn every_way_to_a_key_opens_it(t: &TestStore) {
    for pool in [least_recently_used(9), in_order(9)] {
        let (store, pool, ids) = pool_of(t, vault(&["a"]), pool, &["sk-one"]).await;
        let one = secret("sk-one");
        assert_eq!(store.find_usable_key(&pool, 9).await.unwrap().unwrap().secret.expose(), "sk-one");
        assert_eq!(store.find_all(&pool, 9, 2).await.unwrap()[0].secret.expose(), "sk-one");
        let peeked = store.peek_usable_key(&pool, 9).await.unwrap().unwrap().value;
        assert_eq!(peeked.secret.unwrap().expose(), "sk-one");
        assert_eq!(store.take(&pool, 1).await.unwrap().unwrap().secret.expose(), "sk-one");
        let request = repeatable("web", &pool, "again");
        for _ in 0..2 {
            let (LeaseAnswer::New(leased) | LeaseAnswer::Same(leased)) = store.lease(&pool, &request).await.unwrap()
            else {
                panic!("no key");
            };
            assert_eq!(leased.secret.expose(), "sk-one");
        }
        assert_eq!(store.find_same(&pool, &request).await.unwrap().unwrap().secret.expose(), "sk-one");
        let together = store.lease_all(&pool, &[request.clone(), self::request()]).await.unwrap();
        for answer in together {
            match answer {
                LeaseAnswer::New(leased) | LeaseAnswer::Same(leased) => assert_eq!(leased.secret.expose(), "sk-one"),
                LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => {}
            }
        }
        let record = store.show(&pool, ids[0]).await.unwrap().unwrap().value;
        assert_eq!((record.key.secret.unwrap().expose(), record.sealed_by.as_deref()), ("sk-one", Some("a")));
        // By its secret, as callers name it.
        assert_eq!(store.look_up(&pool, &KeyRef::Secret(one.clone())).await.unwrap().unwrap().value.id, ids[0]);
        store.increment_usage(&pool, &KeyRef::Secret(one.clone())).await.unwrap();
        let both = [KeyRef::Secret(one.clone()), KeyRef::Secret(secret("sk-none"))];
        assert!(format!("{:?}", store.increment_all(&pool, &both).await.unwrap()).contains("UnknownKey"));
        let counted = store.look_up(&pool, &KeyRef::Id(ids[0])).await.unwrap().unwrap().value.usage_count;
        assert_eq!(counted.whole(), Some(3));
        assert_eq!(store.known(&pool, &fresh(&[one.clone(), secret("sk-none")])).await.unwrap(), [true, false]);
        let stats = store.stats(&pool, 9).await.unwrap();
        assert_eq!((stats.keys.of(State::Usable), stats.keys.total()), (1, 1));
        store.remove(&pool, ids[0]).await.unwrap();
    }
}

async fn a_secret_is_one_key_encrypted_or_not(t: &TestStore) {
    let (store, pool, ids) = pool_of(t, vault(&["a"]), least_recently_used(4), &["sk-sealed"]).await;
    let plain = Policy { encrypt: false, ..pool.clone() };
    let secrets = fresh(&[secret("sk-sealed"), secret("sk-plain")]);
    let added = store.add(&plain, &secrets).await.unwrap().verdicts;
    let Added::New(second) = added[1] else { panic!("it was known") };
    assert_eq!(added[0], Added::Known);
    assert_eq!(t.kept(&pool, second).await, ("sk-plain".to_owned(), None, None));
    assert_eq!(store.add(&pool, &secrets).await.unwrap().verdicts, [Added::Known, Added::Known]);
    let brought = store.bring(&pool, &secrets).await.unwrap();
    assert_eq!(brought, [Brought::Known, Brought::Known]);
    assert!(store.show(&pool, second).await.unwrap().unwrap().value.from_file);
    for (id, text) in [(ids[0], "sk-plain"), (second, "sk-sealed")] {
        for pool in [&pool, &plain] {
            let change = KeyChange { secret: Some(secret(text)), ..KeyChange::default() };
            assert!(matches!(store.change(pool, id, &change).await.unwrap(), Changed::KnownSecret));
        }
    }
    // The secret that it has is no other, and is kept as the pool wants it from then on.
    store.increment_usage(&pool, &KeyRef::Secret(secret("sk-plain"))).await.unwrap();
    let same = KeyChange { secret: Some(secret("sk-plain")), ..KeyChange::default() };
    let Changed::Changed(changed) = store.change(&pool, second, &same).await.unwrap() else { panic!("not changed") };
    assert_eq!((changed.value.key.usage_count.whole(), changed.value.sealed_by.as_deref()), (Some(1), Some("a")));
}

async fn keys_are_encrypted_decrypted_and_rotated_beside_their_leases(t: &TestStore) {
    let (store, pool, ids) = pool_of(t, vault(&["a"]), least_recently_used(4), &["sk-one"]).await;
    let id = ids[0];
    let LeaseAnswer::New(leased) = store.lease(&pool, &request()).await.unwrap() else { panic!("no key") };
    let keep = async |keeping| store.keep_anew(&pool, id, keeping).await.unwrap();
    assert_eq!(keep(Keeping::Encrypted).await, KeptAnew::AsItWas);
    assert_eq!(keep(Keeping::Plain).await, KeptAnew::Changed);
    assert_eq!(t.kept(&pool, id).await, ("sk-one".to_owned(), None, None));
    assert_eq!(keep(Keeping::Plain).await, KeptAnew::AsItWas);
    assert_eq!(keep(Keeping::Encrypted).await, KeptAnew::Changed);
    let before = t.kept(&pool, id).await;
    let rotating = t.instance_with(vault(&["b", "a"])).await;
    rotating.prepare(&pool).await.unwrap();
    assert_eq!(rotating.keep_anew(&pool, id, Keeping::Encrypted).await.unwrap(), KeptAnew::Changed);
    let after = t.kept(&pool, id).await;
    assert_eq!((before.0.clone(), after.2.as_deref()), (after.0.clone(), Some("b")));
    assert_ne!(before.1, after.1);
    assert_eq!(rotating.keep_anew(&pool, id, Keeping::Encrypted).await.unwrap(), KeptAnew::AsItWas);
    let settled = t.instance_with(vault(&["b"])).await;
    let lease = lease_id(&pool, &leased);
    let report = keylend::domain::Report::new(Outcome::Used, None).unwrap();
    let counted = settled.report(&pool, &lease, report).await.unwrap().expect("the lease is open");
    assert_eq!((counted.usage_count.whole(), counted.state), (Some(1), State::Usable));
    let nobody = KeyId::from_bytes([9; 12]);
    assert_eq!(store.keep_anew(&pool, nobody, Keeping::Plain).await.unwrap(), KeptAnew::UnknownKey);
}

async fn two_keys_with_one_secret_stay_as_they_are(t: &TestStore) {
    let (store, pool, ids) = pool_of(t, vault(&["a"]), least_recently_used(4), &["sk-one"]).await;
    // As two instances can add it at the same moment, of which one does not encrypt yet.
    let plain = Policy { encrypt: false, ..pool.clone() };
    let blind = t.instance_with(Vault::default()).await;
    let added = blind.add(&plain, &fresh(&[secret("sk-one")])).await.unwrap().verdicts;
    let Added::New(twin) = added[0] else { panic!("it was known") };
    assert_eq!(store.keep_anew(&pool, twin, Keeping::Encrypted).await.unwrap(), KeptAnew::Twin);
    assert_eq!(store.keep_anew(&plain, ids[0], Keeping::Plain).await.unwrap(), KeptAnew::Twin);
}

/// Moves the encrypted secret of the second of these keys to the first one.
async fn spoil(t: &TestStore, pool: &Policy, ids: &[KeyId]) {
    let (_, sealed, _) = t.kept(pool, ids[1]).await;
    t.reseal(pool, ids[0], sealed.expect("it is encrypted")).await;
}

async fn what_was_moved_to_another_document_is_never_handed_out(t: &TestStore) {
    for pool in [least_recently_used(9), in_order(9)] {
        for way in 0..6 {
            let (store, pool, ids) = pool_of(t, vault(&["a"]), pool.clone(), &["sk-one", "sk-two"]).await;
            spoil(t, &pool, &ids).await;
            let handed_out = match way {
                0 => store.find_usable_key(&pool, 9).await.unwrap().unwrap().secret,
                1 => store.find_all(&pool, 9, 1).await.unwrap().pop().unwrap().secret,
                2 => store.peek_usable_key(&pool, 9).await.unwrap().map_or(secret("sk-two"), |seen| {
                    // On a server it is looked at, not handed out.
                    seen.value.secret.unwrap_or(secret("sk-two"))
                }),
                3 => store.take(&pool, 3).await.unwrap().unwrap().secret,
                4 => match store.lease(&pool, &request()).await.unwrap() {
                    LeaseAnswer::New(leased) => leased.secret,
                    other => panic!("{other:?}"),
                },
                _ => match store.lease_all(&pool, &[request(), request()]).await.unwrap().swap_remove(1) {
                    LeaseAnswer::New(leased) => leased.secret,
                    // Its key could not be read: it goes again.
                    LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => secret("sk-two"),
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(handed_out.expose(), "sk-two", "{way}");
            // Nothing is left of what was done to it, and it is told as invalid.
            let spoilt = store.look_up(&pool, &KeyRef::Id(ids[0])).await.unwrap().unwrap();
            assert_eq!(spoilt.value.open_leases, Some(0), "{way}");
            assert_eq!(spoilt.value.usage_count.whole(), Some(0), "{way}");
            assert_eq!(state(&spoilt.value, 9, spoilt.now), State::Invalid);
            assert!(spoilt.value.secret.is_none());
            if way != 2 {
                assert_eq!(store.stats(&pool, 9).await.unwrap().keys.of(State::Invalid), 1, "{way}");
                let found = store.examine(&pool, 9).await.unwrap();
                assert_eq!((found.invalid, found.invalid_keys[0].id.clone()), (1, ids[0].to_string()));
                assert!(found.invalid_keys[0].reasons[0].contains("does not decrypt"), "{found:?}");
                assert_eq!(found.encrypted, [("a".to_owned(), 1)]);
            }
            let why = store.keep_anew(&pool, ids[0], Keeping::Plain).await.unwrap();
            assert_eq!(why, KeptAnew::NotOpened(NotOpened::Unreadable));
            // Its own secret, given anew, mends it, and starts nothing afresh.
            store.increment_usage(&pool, &KeyRef::Id(ids[0])).await.unwrap();
            let change = KeyChange { secret: Some(secret("sk-one")), ..KeyChange::default() };
            let Changed::Changed(mended) = store.change(&pool, ids[0], &change).await.unwrap() else { panic!("{way}") };
            assert_eq!(mended.value.key.usage_count.whole(), Some(1));
            assert_eq!(state(&mended.value.key, 9, mended.now), State::Usable);
            for id in ids {
                store.remove(&pool, id).await.unwrap();
            }
        }
    }
}

async fn a_crowd_gets_the_keys_that_can_be_read(t: &TestStore) {
    for pool in [least_recently_used(2), in_order(2)] {
        let secrets: Vec<String> = (0..20).map(|n| format!("sk-{n}")).collect();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let (store, pool, ids) = pool_of(t, vault(&["a"]), pool, &secrets).await;
        for pair in ids.chunks(2) {
            spoil(t, &pool, pair).await;
        }
        let mut got = Vec::new();
        // Who got none although others did goes again, as callers of a pool do.
        for _ in 0..20 {
            let requests: Vec<_> = (got.len()..20).map(|_| request()).collect();
            for answer in store.lease_all(&pool, &requests).await.unwrap() {
                if let LeaseAnswer::New(leased) = answer {
                    got.push((leased.id, leased.secret.expose().to_owned()));
                }
            }
            if got.len() == 20 {
                break;
            }
        }
        assert_eq!(got.len(), 20);
        for (id, text) in &got {
            let place = ids.iter().position(|known| known == id).unwrap();
            assert_eq!((place % 2, text.as_str()), (1, secrets[place]));
        }
        let more = store.lease_all(&pool, &[request(), request()]).await.unwrap();
        assert!(more.iter().all(|answer| matches!(answer, LeaseAnswer::NoUsableKey)));
        for (place, id) in ids.iter().enumerate() {
            let key = store.look_up(&pool, &KeyRef::Id(*id)).await.unwrap().unwrap().value;
            assert_eq!(key.open_leases, Some(if place % 2 == 0 { 0 } else { 2 }));
            store.remove(&pool, *id).await.unwrap();
        }
    }
}

async fn a_lease_whose_key_cannot_be_read_here_stays_its_holders(t: &TestStore) {
    for pool in [least_recently_used(1), in_order(1)] {
        let (store, pool, ids) = pool_of(t, vault(&["b", "a"]), pool, &["sk-one"]).await;
        let request = repeatable("web", &pool, "again");
        let LeaseAnswer::New(leased) = store.lease(&pool, &request).await.unwrap() else { panic!("no key") };
        // An instance that does not know the newest key yet.
        let behind = t.instance_with(vault(&["a"])).await;
        behind.prepare(&pool).await.unwrap();
        spoil_for(&store, &behind, &pool, &request).await;
        // And one for which it does not decrypt any more.
        let other = pool_of_more(&store, &pool, "sk-two").await;
        let (_, sealed, _) = t.kept(&pool, other).await;
        store.remove(&pool, other).await.unwrap();
        let (_, before, _) = t.kept(&pool, ids[0]).await;
        t.reseal(&pool, ids[0], sealed.unwrap()).await;
        spoil_for(&store, &store, &pool, &request).await;
        t.reseal(&pool, ids[0], before.unwrap()).await;
        let report = keylend::domain::Report::new(Outcome::Used, None).unwrap();
        let settled = store.report(&pool, &lease_id(&pool, &leased), report).await.unwrap().expect("the lease is open");
        assert_eq!((settled.usage_count.whole(), settled.state), (Some(1), State::Spent));
        store.remove(&pool, ids[0]).await.unwrap();
    }
}

type AStore = std::sync::Arc<dyn keylend::store::Store>;

/// The same request is answered that it has a lease which cannot be had here, whichever way it is asked.
async fn spoil_for(holder: &AStore, here: &AStore, pool: &Policy, request: &keylend::store::LeaseRequest) {
    let same = here.lease(pool, request).await.unwrap();
    assert!(matches!(same, LeaseAnswer::SameUnreadable), "{same:?}");
    let answers = here.lease_all(pool, &[request.clone(), self::request()]).await.unwrap();
    assert!(matches!(answers[..], [LeaseAnswer::SameUnreadable, LeaseAnswer::NoUsableKey]), "{answers:?}");
    assert!(matches!(here.find_same(pool, request).await, Err(StoreError::Away(_))));
    let key = holder.list(pool, page(None, 9)).await.unwrap().value.remove(0).key;
    assert_eq!((key.usage_count.whole(), key.open_leases), (Some(0), Some(1)));
}

/// One key more.
async fn pool_of_more(store: &AStore, pool: &Policy, text: &str) -> KeyId {
    match store.add(pool, &fresh(&[secret(text)])).await.unwrap().verdicts[..] {
        [Added::New(id)] => id,
        _ => panic!("it was known"),
    }
}

async fn what_was_given_up_can_be_tried_again(t: &TestStore) {
    for (pool, keeping) in [(least_recently_used(4), Keeping::Encrypted), (in_order(4), Keeping::Plain)] {
        let (store, pool, ids) = pool_of(t, vault(&["a"]), pool, &["sk-one", "sk-two"]).await;
        // Under another name nothing decrypts, and all is given up that is tried.
        let renamed = Policy { name: "renamed".parse().unwrap(), ..pool.clone() };
        assert!(store.find_usable_key(&renamed, 4).await.unwrap().is_none());
        for (id, left) in ids.iter().zip([1, 2]) {
            assert_eq!(store.stats(&pool, 4).await.unwrap().keys.of(State::Usable), left - 1);
            let listed = store.list(&pool, Page { state: Some(State::Invalid), ..page(None, 9) }).await.unwrap().value;
            assert_eq!(listed.len() as u64, 3 - left);
            assert!(listed.iter().all(|record| record.key.secret.is_none() && record.sealed_by.is_some()));
            assert_eq!(store.keep_anew(&pool, *id, keeping).await.unwrap(), KeptAnew::Changed);
        }
        let usable = store.find_all(&pool, 4, 2).await.unwrap();
        assert!(usable.iter().all(|found| found.secret.expose().starts_with("sk-")) && !usable.is_empty());
        for id in ids {
            store.remove(&pool, id).await.unwrap();
        }
    }
}

async fn what_another_instance_cannot_open_is_invalid_there_alone(t: &TestStore) {
    for pool in [least_recently_used(4), in_order(4)] {
        let (store, pool, ids) = pool_of(t, vault(&["b"]), pool, &["sk-one"]).await;
        for vault in [vault(&["a"]), Vault::default()] {
            let has_keys = vault.has_keys();
            let other = t.instance_with(vault).await;
            // Without any, what it added would stand there twice.
            let prepared = other.prepare(&pool).await;
            let refused = matches!(&prepared, Err(StoreError::Unusable(why)) if why.contains("its keys are encrypted"));
            assert_eq!((prepared.is_ok(), refused), (has_keys, !has_keys), "{prepared:?}");
            assert!(matches!(other.lease(&pool, &request()).await.unwrap(), LeaseAnswer::NoUsableKey));
            assert!(other.find_usable_key(&pool, 4).await.unwrap().is_none());
            assert!(other.take(&pool, 1).await.unwrap().is_none());
            assert_eq!(other.stats(&pool, 4).await.unwrap().keys.of(State::Invalid), 1);
            let found = other.examine(&pool, 4).await.unwrap();
            assert!(found.invalid_keys[0].reasons[0].contains("KEYLEND_ENCRYPTION_KEYS does not have"), "{found:?}");
            assert_eq!(found.wrong_keys.len(), usize::from(!has_keys), "{found:?}");
            let kept = other.keep_anew(&pool, ids[0], Keeping::Plain).await.unwrap();
            assert_eq!(kept, KeptAnew::NotOpened(NotOpened::UnknownKey));
        }
        let stats = store.stats(&pool, 4).await.unwrap();
        assert_eq!(stats.keys.of(State::Usable), 1, "{stats:?}");
        assert!(matches!(store.lease(&pool, &request()).await.unwrap(), LeaseAnswer::New(_)));
        store.remove(&pool, ids[0]).await.unwrap();
    }
}

async fn another_key_under_a_known_name_is_refused(t: &TestStore) {
    let (_, pool, _) = pool_of(t, vault(&["a"]), least_recently_used(4), &["sk-one"]).await;
    let other = |name: &str, byte, digest| {
        Vault::new(vec![EncryptionKey::new(name, [byte; 32]).unwrap()], DigestKey::new([digest; 32]))
    };
    for (vault, expected) in [
        (other("a", 1, 7), "KEYLEND_ENCRYPTION_KEYS: a is another key"),
        (other("a", b'a', 8), "KEYLEND_DIGEST_KEY is another key"),
    ] {
        let other = t.instance_with(vault).await;
        let refused = other.prepare(&pool).await;
        assert!(matches!(&refused, Err(StoreError::Unusable(why)) if why.starts_with(expected)), "{refused:?}");
        let found = other.examine(&pool, 9).await.unwrap();
        assert!(found.wrong_keys[0].starts_with(expected), "{found:?}");
    }
    t.instance_with(other("c", 1, 7)).await.prepare(&pool).await.unwrap();
    t.instance_with(vault(&["b", "a"])).await.prepare(&pool).await.unwrap();
}

async fn what_an_operator_removed_is_remembered_without_its_secret(t: &TestStore) {
    let (store, pool, _) = pool_of(t, vault(&["a"]), in_order(4), &[]).await;
    let line = fresh(&[secret("sk-line")]);
    let Brought::New(id) = store.bring(&pool, &line).await.unwrap()[0] else { panic!("it was known") };
    store.bring(&pool, &line).await.unwrap();
    assert!(store.remove(&pool, id).await.unwrap());
    assert_eq!(store.bring(&pool, &line).await.unwrap(), [Brought::Removed]);
    let Added::New(id) = store.add(&pool, &line).await.unwrap().verdicts[0] else { panic!("it was known") };
    assert_eq!(store.bring(&pool, &line).await.unwrap(), [Brought::Known]);
    // Also one that cannot be read any more.
    t.reseal(&pool, id, vec![1; 60]).await;
    assert!(store.remove(&pool, id).await.unwrap());
    assert_eq!(store.bring(&pool, &line).await.unwrap(), [Brought::Removed]);
}
