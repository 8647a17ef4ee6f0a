//! The old Python programs and keylend on the same documents, at the same time.

use std::time::Duration;

use ::mongodb::{Collection, Database};
use bson::{Bson, DateTime, Decimal128, Document, doc, oid::ObjectId};
use keylend::domain::{
    EntryId, IdempotencyDigest, Key, KeyId, KeyRef, LeaseId, NewKey, Outcome, Policy, Report, Secret, State, UsageCount,
};
use keylend::store::mongodb::MongoStore;
use keylend::store::{Incremented, LeaseAnswer, LeaseRequest, LeasedKey, Page, Store};

use crate::database;

/// Makes a test of each function, on a database of its own.
macro_rules! on_mongodb {
    ($($test:ident),+ $(,)?) => {
        mod mongodb {
            $(#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
            #[test]
            fn $test() {
                crate::database::with_database(async |database| {
                    super::$test(&crate::older_programs::Shared::new(database).await).await;
                });
            })+
        }
    };
}

pub(crate) use on_mongodb;

on_mongodb! {
    what_the_python_class_leaves_is_lent_counted_listed_and_shown,
    counting_and_switching_by_python_keeps_leases_and_fields_of_others,
    python_finds_and_counts_what_keylend_leaves,
    a_date_in_the_future_does_not_keep_a_key_from_being_lent,
    a_missing_date_goes_first_like_a_null_one,
    documents_with_credits_are_not_lent_until_they_are_counted,
    a_count_starts_from_the_credits_that_are_gone,
    a_switch_that_is_missing_is_not_set_by_a_report,
    settling_keeps_a_count_that_is_no_number,
    a_count_that_is_taken_away_during_a_lease_starts_from_the_credits,
    counting_takes_up_what_an_undone_migration_left,
}

/// The stability pool, as keylend and as another program sees it.
pub struct Shared {
    pub store: MongoStore,
    pub pool: Policy,
    pub python: Collection<Document>,
}

pub const HOUR: i64 = 3_600_000;

pub fn in_millis(millis: i64) -> DateTime {
    DateTime::from_millis(DateTime::now().timestamp_millis() + millis)
}

pub fn secret(text: &str) -> Secret {
    Secret::parse(text).unwrap()
}

pub fn key_id(id: ObjectId) -> KeyId {
    KeyId::from_bytes(id.bytes())
}

impl Shared {
    pub async fn new(database: &Database) -> Self {
        let store = database::instance(database).await;
        let [pool, ..] = Policy::built_in();
        store.prepare(&pool).await.unwrap();
        let python = database.collection("stability_api_keys");
        Self { store, pool, python }
    }

    pub async fn insert(&self, document: Document) -> ObjectId {
        self.python.insert_one(document).await.unwrap().inserted_id.as_object_id().unwrap()
    }

    pub async fn document(&self, id: ObjectId) -> Document {
        self.python.find_one(doc! {"_id": id}).await.unwrap().unwrap()
    }

    pub async fn key(&self, id: ObjectId) -> Key {
        self.store.look_up(&self.pool, &KeyRef::Id(key_id(id))).await.unwrap().unwrap().value
    }

    pub async fn try_lease(&self) -> Option<LeasedKey> {
        let entry = EntryId::from_bytes(rand::random());
        let ttl = Duration::from_secs(300);
        let request = LeaseRequest { entry, ttl, by: "app".to_owned(), idem: IdempotencyDigest::none(entry) };
        match self.store.lease(&self.pool, &request).await.unwrap() {
            LeaseAnswer::New(leased) => Some(leased),
            LeaseAnswer::Same(leased) => panic!("nobody asked for the same: {leased:?}"),
            LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => None,
        }
    }

    pub async fn report(&self, leased: &LeasedKey, outcome: Outcome) -> UsageCount {
        let lease = LeaseId { pool: self.pool.name.clone(), key: leased.id, entry: leased.entry };
        let report = Report::new(outcome, None).unwrap();
        self.store.report(&self.pool, &lease, report).await.unwrap().expect("the lease is open").usage_count
    }

    pub async fn increment(&self, id: ObjectId) -> UsageCount {
        match self.store.increment_usage(&self.pool, &KeyRef::Id(key_id(id))).await.unwrap() {
            Incremented::Counted { usage_count, .. } => usage_count,
            other => panic!("{other:?}"),
        }
    }
}

/// What the Python class inserts for a new key.
pub fn new_in_python(api_key: &str) -> Document {
    doc! {"api_key": api_key, "usage_count": 0, "last_used": Bson::Null, "is_active": true}
}

/// What is left of a key that the Python class has used: an int32, and its local time taken for UTC.
pub fn used_in_python(api_key: &str, usage_count: i32, last_used: DateTime) -> Document {
    doc! {"api_key": api_key, "usage_count": usage_count, "last_used": last_used, "is_active": true}
}

async fn what_the_python_class_leaves_is_lent_counted_listed_and_shown(t: &Shared) {
    let used = t.insert(used_in_python("sk-used", 3, in_millis(-HOUR))).await;
    let new = t.insert(new_in_python("sk-new")).await;
    let spent = t.insert(used_in_python("sk-spent", 4, in_millis(-2 * HOUR))).await;
    let off = t.insert(doc! {"api_key": "sk-off", "usage_count": 1, "last_used": Bson::Null, "is_active": false}).await;
    let stats = t.store.stats(&t.pool, 4).await.unwrap();
    assert_eq!(State::ALL.map(|state| stats.keys.of(state)), [0, 1, 1, 0, 0, 2]);
    assert_eq!((stats.counted, stats.left, stats.needs_migration), (8, 5, 0));
    let all = t.store.list(&t.pool, Page { after: None, limit: 9, state: None }).await.unwrap().value;
    let listed: Vec<KeyId> = all.iter().map(|record| record.key.id).collect();
    assert_eq!(listed, [used, new, spent, off].map(key_id));
    let found = t.store.find_usable_key(&t.pool, 4).await.unwrap().unwrap();
    assert_eq!((found.id, found.secret.expose(), found.usage_count), (key_id(new), "sk-new", 0));
    let leased = t.try_lease().await.unwrap();
    assert_eq!((leased.id, leased.secret.expose(), leased.usage_count), (key_id(used), "sk-used", 3));
    assert_eq!(t.report(&leased, Outcome::Used).await, UsageCount::Whole(4));
    assert_eq!(t.increment(used).await, UsageCount::Whole(5));
    let taken = t.store.take(&t.pool, 9).await.unwrap().unwrap();
    assert_eq!((taken.id, taken.uses, taken.usage_count), (key_id(new), 4, 4));
    assert!(t.try_lease().await.is_none());
}

async fn counting_and_switching_by_python_keeps_leases_and_fields_of_others(t: &Shared) {
    let mut document = used_in_python("sk-shared", 1, in_millis(-HOUR));
    document.insert("owner", doc! {"name": "$api_key", "tags": ["a", Bson::Null]});
    let id = t.insert(document.clone()).await;
    let leases = [t.try_lease().await.unwrap(), t.try_lease().await.unwrap()];
    // As the class does: $inc and $set in one update, its own clock, and nothing else touched.
    let count = doc! {"$inc": {"usage_count": 1}, "$set": {"last_used": in_millis(2 * HOUR)}};
    t.python.update_one(doc! {"api_key": "sk-shared"}, count).await.unwrap();
    assert!(t.try_lease().await.is_none(), "two counted, two on lease");
    assert_eq!(t.report(&leases[0], Outcome::Used).await, UsageCount::Whole(3));
    t.python.update_one(doc! {"_id": id}, doc! {"$set": {"is_active": false}}).await.unwrap();
    assert_eq!(t.report(&leases[1], Outcome::RateLimited).await, UsageCount::Whole(3));
    let stored = t.document(id).await;
    assert_eq!(stored.get("owner"), document.get("owner"));
    assert_eq!(stored.get_bool("is_active").ok(), Some(false));
    assert!(!stored.contains_key("disabled_reason"));
    t.python.update_one(doc! {"_id": id}, doc! {"$set": {"is_active": true}}).await.unwrap();
    let key = t.key(id).await;
    assert_eq!((key.usage_count, key.open_leases, key.is_active), (UsageCount::Whole(3), Some(0), true));
    assert!(key.resting_until.is_some());
    assert_eq!(t.increment(id).await, UsageCount::Whole(4));
    assert_eq!(t.document(id).await.get("owner"), document.get("owner"));
}

async fn python_finds_and_counts_what_keylend_leaves(t: &Shared) {
    t.store.add(&t.pool, &[NewKey::fresh(secret("sk-added"))]).await.unwrap();
    let leased = t.try_lease().await.unwrap();
    // What the class asks for, and how it sorts.
    let usable = doc! {"usage_count": {"$lte": 3}, "is_active": true};
    let found = t.python.find_one(usable.clone()).sort(doc! {"last_used": 1}).await.unwrap().unwrap();
    assert_eq!(found.get_str("api_key").ok(), Some("sk-added"));
    assert!(found.get_datetime("last_used").is_ok());
    assert!(matches!(found.get("usage_count"), Some(Bson::Int32(0) | Bson::Int64(0))));
    t.python.update_one(doc! {"api_key": "sk-added"}, doc! {"$inc": {"usage_count": 1}}).await.unwrap();
    assert_eq!(t.report(&leased, Outcome::Used).await, UsageCount::Whole(2));
    let rejected = t.try_lease().await.unwrap();
    t.report(&rejected, Outcome::Rejected).await;
    assert!(t.python.find_one(usable).await.unwrap().is_none());
}

async fn a_date_in_the_future_does_not_keep_a_key_from_being_lent(t: &Shared) {
    let later = t.insert(used_in_python("sk-later", 0, in_millis(9 * HOUR))).await;
    let sooner = t.insert(used_in_python("sk-sooner", 0, in_millis(2 * HOUR))).await;
    // Stamped with the store's clock at its first lease, the one is before the other until nothing is left of it.
    for expected in [sooner, sooner, sooner, sooner, later, later, later, later] {
        assert_eq!(t.try_lease().await.unwrap().id, key_id(expected));
    }
    assert!(t.try_lease().await.is_none());
}

async fn a_missing_date_goes_first_like_a_null_one(t: &Shared) {
    let used = t.insert(used_in_python("sk-1", 0, in_millis(-HOUR))).await;
    let mut never = new_in_python("sk-2");
    never.remove("last_used");
    let (missing, null) = (t.insert(never).await, t.insert(new_in_python("sk-3")).await);
    let mut first = [t.try_lease().await.unwrap().id, t.try_lease().await.unwrap().id];
    first.sort();
    assert_eq!(first, [missing, null].map(key_id));
    assert_eq!(t.try_lease().await.unwrap().id, key_id(used));
}

async fn documents_with_credits_are_not_lent_until_they_are_counted(t: &Shared) {
    let old = doc! {"api_key": "sk-old", "credits_left": 24, "last_used": Bson::Null, "is_active": true};
    let id = t.insert(old).await;
    let null = doc! {"api_key": "sk-null", "credits_left": 25.0, "usage_count": Bson::Null, "is_active": true};
    t.insert(null).await;
    assert!(t.try_lease().await.is_none());
    assert!(t.store.find_usable_key(&t.pool, 10_001).await.unwrap().is_none());
    assert!(t.store.take(&t.pool, 1).await.unwrap().is_none());
    let stats = t.store.stats(&t.pool, 4).await.unwrap();
    assert_eq!((stats.needs_migration, stats.keys.of(State::Invalid), stats.left), (2, 2, 0));
    assert_eq!(t.increment(id).await, UsageCount::Whole(2));
    assert_eq!(t.store.stats(&t.pool, 4).await.unwrap().needs_migration, 1);
    assert_eq!(t.document(id).await.get_i32("credits_left").ok(), Some(24));
    assert_eq!(t.try_lease().await.unwrap().usage_count, 2);
}

async fn a_count_starts_from_the_credits_that_are_gone(t: &Shared) {
    let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
    let rows = [
        (Bson::Int32(25), 1),
        (Bson::Int32(24), 2),
        (Bson::Int64(0), 26),
        (Bson::Int32(30), 1),
        (Bson::Int32(-5), 31),
        (Bson::Double(24.5), 2),
        (Bson::Double(0.1), 26),
        (Bson::Double(-0.5), 27),
        (Bson::Double(24.999_999), 2),
        (decimal("22.4"), 4),
        (Bson::Double(f64::NAN), 1),
        (Bson::Double(f64::INFINITY), 1),
        (Bson::Double(f64::NEG_INFINITY), 1),
        (decimal("NaN"), 1),
        (decimal("1E+6000"), 1),
        (Bson::Int64(i64::MIN), 1),
        (Bson::String("3".to_owned()), 1),
        (Bson::Null, 1),
        (bson::bson!([20]), 1),
    ];
    for (n, (credits, expected)) in rows.into_iter().enumerate() {
        let id = t.insert(doc! {"api_key": format!("sk-{n}"), "credits_left": &credits, "is_active": true}).await;
        assert_eq!(t.increment(id).await, UsageCount::Whole(expected), "{credits:?}");
        assert_eq!(t.increment(id).await, UsageCount::Whole(expected + 1), "{credits:?}");
        let stored = t.document(id).await;
        assert!(matches!(stored.get("usage_count"), Some(Bson::Int32(_) | Bson::Int64(_))), "{stored}");
    }
}

async fn a_switch_that_is_missing_is_not_set_by_a_report(t: &Shared) {
    for (n, outcome) in [Outcome::Rejected, Outcome::Exhausted, Outcome::Unused].into_iter().enumerate() {
        let id = t.insert(new_in_python(&format!("sk-{n}"))).await;
        let leased = t.try_lease().await.unwrap();
        assert_eq!(leased.id, key_id(id));
        t.python.update_one(doc! {"_id": id}, doc! {"$unset": {"is_active": ""}}).await.unwrap();
        t.report(&leased, outcome).await;
        let stored = t.document(id).await;
        assert!(!stored.contains_key("is_active") && !stored.contains_key("disabled_reason"), "{stored}");
    }
}

async fn settling_keeps_a_count_that_is_no_number(t: &Shared) {
    for (n, count) in [Bson::String("2".to_owned()), bson::bson!([1]), Bson::Double(f64::NAN)].into_iter().enumerate() {
        let id = t.insert(new_in_python(&format!("sk-{n}"))).await;
        let (used, lapses) = (t.try_lease().await.unwrap(), t.try_lease().await.unwrap());
        t.python.update_one(doc! {"_id": id}, doc! {"$set": {"usage_count": &count}}).await.unwrap();
        assert_eq!(t.report(&used, Outcome::Used).await, UsageCount::NotANumber);
        let past = doc! {"$set": {"leases.0.expires_at": DateTime::from_millis(1)}};
        t.python.update_one(doc! {"leases.id": lapses.entry.to_string()}, past).await.unwrap();
        assert_eq!(t.store.sweep(&t.pool).await.unwrap(), 1);
        let stored = t.document(id).await;
        assert_eq!(format!("{:?}", stored.get("usage_count")), format!("{:?}", Some(&count)));
        assert_eq!(stored.get_array("leases").unwrap().len(), 0);
    }
}

async fn a_count_that_is_taken_away_during_a_lease_starts_from_the_credits(t: &Shared) {
    let counts = [doc! {"$unset": {"usage_count": ""}}, doc! {"$set": {"usage_count": Bson::Null}}];
    for (n, (taken_away, credits)) in counts.into_iter().zip([Some(22.5), None]).enumerate() {
        let id = t.insert(new_in_python(&format!("sk-{n}"))).await;
        let (used, _) = (t.try_lease().await.unwrap(), t.try_lease().await.unwrap());
        t.python.update_one(doc! {"_id": id}, taken_away).await.unwrap();
        if let Some(credits) = credits {
            t.python.update_one(doc! {"_id": id}, doc! {"$set": {"credits_left": credits}}).await.unwrap();
        }
        let start = if credits.is_some() { 3 } else { 0 };
        assert_eq!(t.report(&used, Outcome::Used).await, UsageCount::Whole(start + 1));
        // The other one lapses after the count went away once more.
        t.python.update_one(doc! {"_id": id}, doc! {"$unset": {"usage_count": ""}}).await.unwrap();
        let past = doc! {"$set": {"leases.0.expires_at": DateTime::from_millis(1)}};
        t.python.update_one(doc! {"_id": id}, past).await.unwrap();
        assert_eq!(t.store.sweep(&t.pool).await.unwrap(), 1);
        let stored = t.document(id).await;
        assert_eq!(stored.get_i64("usage_count").ok(), Some(start as i64 + 1), "{stored}");
        assert!(!stored.contains_key("legacy"), "{stored}");
        t.python.update_one(doc! {"_id": id}, doc! {"$set": {"is_active": false}}).await.unwrap();
    }
}

async fn counting_takes_up_what_an_undone_migration_left(t: &Shared) {
    let undone = |secret: &str, count: Option<f64>, legacy: Bson| {
        let mut document = doc! {"api_key": secret, "credits_left": 22.0, "is_active": true, "legacy": legacy};
        document.extend(count.map(|count| ("usage_count".to_owned(), Bson::Double(count))));
        document
    };
    let since = bson::bson!({"since": {"usage_count": 2_i64}});
    let with_others = bson::bson!({"since": {"usage_count": 2_i64}, "legacy": "theirs"});
    let theirs = bson::bson!({"since": "theirs"});
    let migrated = bson::bson!({"since": {"usage_count": 2_i64}, "base": {"usage_count": 1_i64}});
    for (n, (count, legacy, counted, left)) in [
        (None, since.clone(), 3 + 2 + 1, None),
        (None, with_others, 3 + 2 + 1, Some(Bson::String("theirs".to_owned()))),
        (None, bson::bson!({"since": {"usage_count": -5_i64}}), 1, None),
        (None, theirs.clone(), 3 + 1, Some(theirs)),
        (None, migrated.clone(), 3 + 1, Some(migrated)),
        // A count that is there is counted on; the next migration adds the others.
        (Some(7.0), since.clone(), 7 + 1, Some(since.clone())),
    ]
    .into_iter()
    .enumerate()
    {
        let id = t.insert(undone(&format!("sk-{n}"), count, legacy.clone())).await;
        assert_eq!(t.increment(id).await, UsageCount::Whole(counted), "{legacy}");
        assert_eq!(t.document(id).await.get("legacy"), left.as_ref(), "{legacy}");
        assert_eq!(t.increment(id).await, UsageCount::Whole(counted + 1), "{legacy}");
    }
    // A reset is about all that was counted.
    let id = t.insert(undone("sk-reset", Some(7.0), since)).await;
    t.store.reset(&t.pool, &[key_id(id)]).await.unwrap();
    let stored = t.document(id).await;
    assert!(!stored.contains_key("legacy") && stored.get_i64("usage_count").ok() == Some(0), "{stored}");
}
