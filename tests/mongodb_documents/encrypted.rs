//! Any BSON in any field of an encrypted key: nothing is handed out but what decrypts, and no value stops a pool.

use std::collections::BTreeSet;

use bson::{Binary, Bson, Document, doc, oid::ObjectId, spec::BinarySubtype};
use keylend::domain::{EntryId, IdempotencyDigest, KeyId, Picks, Policy, Secret};
use keylend::store::vault::{DigestKey, EncryptionKey, Vault};
use keylend::store::{Keeping, LeaseAnswer, LeaseRequest, Page, Store};
use mongodb::Database;

use crate::database;
use crate::every_value::every_value;

const USES: u32 = 2;

#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
#[test]
fn any_value_beside_an_encrypted_key_is_borne() {
    for picks in Picks::ALL {
        for field in ["sealed", "sealed_by", "unreadable", "api_key"] {
            database::with_database(async |database| bears(database, picks, field).await);
        }
    }
}

/// The name of the key is a value that is planted as a symbol as well, which equals it for the server.
fn vault() -> Vault {
    Vault::new(vec![EncryptionKey::new("sk-symbol", [1; 32]).unwrap()], DigestKey::new([2; 32]))
}

fn sealed_key(pool: &Policy, n: usize) -> (KeyId, Document) {
    let id = ObjectId::new();
    let secret = Secret::parse(&format!("sk-good-{n}")).unwrap();
    let kept = vault().keep(pool, KeyId::from_bytes(id.bytes()), &secret);
    let (bytes, by) = kept.sealed.unwrap();
    let sealed = Binary { subtype: BinarySubtype::Generic, bytes };
    let document = doc! {
        "_id": id, "api_key": kept.api_key, "sealed": sealed, "sealed_by": by, "usage_count": 0, "is_active": true,
        "order": n as i64,
    };
    (KeyId::from_bytes(id.bytes()), document)
}

fn request() -> LeaseRequest {
    let entry = EntryId::from_bytes(rand::random());
    let ttl = std::time::Duration::from_secs(300);
    LeaseRequest { entry, ttl, by: String::new(), idem: IdempotencyDigest::none(entry) }
}

async fn bears(database: &Database, picks: Picks, field: &str) {
    let pool = Policy { encrypt: true, ..Policy::new("planted".parse().unwrap(), picks, USES) };
    let store = database::instance_with(database, vault()).await;
    store.prepare(&pool).await.unwrap();
    let mut ids = Vec::new();
    let mut documents = Vec::new();
    for (n, value) in every_value().into_iter().enumerate() {
        let (id, mut document) = sealed_key(&pool, n);
        match value {
            Some(value) => _ = document.insert(field, value),
            None => _ = document.remove(field),
        }
        ids.push(id);
        documents.push(document);
    }
    let (good, document) = sealed_key(&pool, 900);
    documents.push(document);
    ids.push(good);
    database.collection::<Document>(&pool.collection).insert_many(&documents).await.unwrap();
    let places: Vec<String> = (0..documents.len() - 1).map(|n| format!("sk-good-{n}")).collect();
    let is_own = |id: KeyId, secret: &Secret| {
        let place = ids.iter().position(|known| *known == id).unwrap();
        let own = places.get(place).map_or("sk-good-900", String::as_str);
        // In the place of what stands for it, a text is a secret of its own.
        let planted = documents[place].get("api_key") == Some(&Bson::String(secret.expose().to_owned()));
        assert!(secret.expose() == own || (field == "api_key" && planted), "{field} of {place}: {}", secret.expose());
    };
    let mut handed_out = BTreeSet::new();
    let found = store.find_usable_key(&pool, USES).await.unwrap().expect("a good key");
    is_own(found.id, &found.secret);
    let taken = store.take(&pool, 1).await.unwrap().expect("a good key");
    is_own(taken.id, &taken.secret);
    // One after the other, and together, until there is none.
    for round in 0.. {
        assert!(round < 500, "it does not end");
        let requests: Vec<LeaseRequest> = (0..1 + round % 3).map(|_| request()).collect();
        let mut got = false;
        for answer in store.lease_all(&pool, &requests).await.unwrap() {
            if let LeaseAnswer::New(leased) = answer {
                is_own(leased.id, &leased.secret);
                handed_out.insert(leased.id);
                got = true;
            }
        }
        let alone = store.lease(&pool, &request()).await.unwrap();
        if let LeaseAnswer::New(leased) = &alone {
            is_own(leased.id, &leased.secret);
        }
        if !got && matches!(alone, LeaseAnswer::NoUsableKey) {
            break;
        }
    }
    assert!(handed_out.contains(&good));
    assert!(store.find_usable_key(&pool, USES).await.unwrap().is_none());
    // What the server judges and what can be read agree.
    let listed = store.list(&pool, Page { after: None, limit: 1000, state: None }).await.unwrap();
    let stats = store.stats(&pool, USES).await.unwrap();
    for state in keylend::domain::State::ALL {
        let now = |key| keylend::domain::state::state(key, USES, listed.now);
        let count = listed.value.iter().filter(|record| now(&record.key) == state).count() as u64;
        assert_eq!(stats.keys.of(state), count, "{field} {state:?}");
    }
    store.examine(&pool, 1000).await.unwrap();
    for keeping in [Keeping::Plain, Keeping::Encrypted] {
        for id in &ids {
            store.keep_anew(&pool, *id, keeping).await.unwrap();
        }
    }
}
