//! What operators do to keys that the old Python programs go on reading and writing, before it, between and after.

use std::time::Duration;

use ::mongodb::Collection;
use bson::{Bson, DateTime, Document, bson, doc, oid::ObjectId};
use futures_util::TryStreamExt;
use keylend::domain::{
    DisabledReason, KeyChange, KeyId, KeyRecord, KeyRef, NewKey, Outcome, Policy, Rest, State, Timestamp, UsageCount,
};
use keylend::store::{Added, Changed, Incremented, InvalidKey, Store};

use crate::database;
use crate::older_programs::{HOUR, Shared, in_millis, key_id, new_in_python, on_mongodb, secret, used_in_python};

on_mongodb! {
    a_change_keeps_what_python_and_others_wrote,
    python_counts_on_after_a_change_and_keylend_after_python,
    counts_of_all_kinds_are_repaired_by_a_change_and_by_a_reset,
    a_reset_keeps_leases_and_what_others_wrote,
    a_removed_key_is_gone_for_python_and_what_python_adds_again_is_new,
    changes_between_counts_of_both_lose_none,
    every_kind_of_switch_and_date_is_shown_and_changed,
    credits_stay_and_are_told,
    the_same_secret_twice_is_named_by_ids_and_lent_all_the_same,
    without_the_unique_index_twins_are_looked_for,
    an_index_of_others_keeps_secrets_unique_as_well,
    what_is_invalid_is_told_in_words,
    a_collection_that_is_not_there_is_not_made_by_looking,
    a_start_beside_a_database_with_keys_names_it,
}

impl Shared {
    async fn change(&self, id: ObjectId, change: KeyChange) -> KeyRecord {
        match self.store.change(&self.pool, key_id(id), &change).await.unwrap() {
            Changed::Changed(seen) => seen.value,
            other => panic!("{other:?}"),
        }
    }

    /// What the class does to count, by secret.
    async fn count_in_python(&self, api_key: &str) {
        let count = doc! {"$inc": {"usage_count": 1}, "$set": {"last_used": in_millis(2 * HOUR)}};
        let counted = self.python.update_one(doc! {"api_key": api_key}, count).await.unwrap();
        assert_eq!(counted.matched_count, 1);
    }

    /// Another pool on this database, whose collection nobody has made yet.
    fn other(&self, collection: &str) -> (Policy, Collection<Document>) {
        let pool = Policy { collection: collection.to_owned(), ..self.pool.clone() };
        (pool, self.python.client().database(&self.python.namespace().db).collection(collection))
    }
}

fn counted(count: u64) -> KeyChange {
    KeyChange { usage_count: Some(count), ..KeyChange::default() }
}

fn renamed(text: &str) -> KeyChange {
    KeyChange { secret: Some(secret(text)), ..KeyChange::default() }
}

fn switched(is_active: bool) -> KeyChange {
    KeyChange { is_active: Some(is_active), ..KeyChange::default() }
}

/// Fields that belong to somebody else.
fn of_others() -> Document {
    doc! {"owner": {"name": "$api_key", "tags": ["a", Bson::Null, 1.5]}, "e-mail": "x@example.org", "credits_left": 7}
}

async fn a_change_keeps_what_python_and_others_wrote(t: &Shared) {
    let mut document = used_in_python("sk-shared", 1, in_millis(-HOUR));
    document.extend(of_others());
    let id = t.insert(document).await;
    let lease = t.try_lease().await.unwrap();
    let before = t.document(id).await;
    let rest = Some(Rest::For(Duration::from_secs(60)));
    t.change(id, KeyChange { note: Some(Some("seen".to_owned())), rest, usage_count: Some(2), ..switched(true) }).await;
    let mut after = t.document(id).await;
    assert_eq!(after.remove("note"), Some(Bson::String("seen".to_owned())));
    assert!(after.remove("resting_until").is_some());
    assert_eq!(after.insert("usage_count", before.get("usage_count").unwrap()), Some(Bson::Int64(2)));
    assert_eq!(after, before);
    // Another secret: what is about the old one goes, what is another program's stays.
    t.change(id, renamed("sk-renamed")).await;
    let mut after = t.document(id).await;
    for (field, value) in of_others() {
        assert_eq!(after.remove(&field), Some(value));
    }
    let mut fields: Vec<&str> = after.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["_id", "api_key", "is_active", "last_used", "note", "usage_count"]);
    assert_eq!(t.python.count_documents(doc! {"api_key": "sk-shared"}).await.unwrap(), 0);
    let old = keylend::domain::LeaseId { pool: t.pool.name.clone(), key: lease.id, entry: lease.entry };
    assert_eq!(t.store.find_lease(&t.pool, &old).await.unwrap(), None);
}

async fn python_counts_on_after_a_change_and_keylend_after_python(t: &Shared) {
    let id = t.insert(new_in_python("sk-1")).await;
    t.count_in_python("sk-1").await;
    assert_eq!(t.change(id, counted(3)).await.key.usage_count, UsageCount::Whole(3));
    t.count_in_python("sk-1").await;
    assert_eq!(t.key(id).await.usage_count, UsageCount::Whole(4));
    assert!(t.try_lease().await.is_none());
    assert_eq!(t.store.reset(&t.pool, &[key_id(id)]).await.unwrap(), [key_id(id)]);
    t.count_in_python("sk-1").await;
    let leased = t.try_lease().await.unwrap();
    assert_eq!(t.change(id, switched(false)).await.disabled_reason, Some(DisabledReason::Operator));
    // What the class asks for does not find it, and its switch brings it back, reason or not.
    let usable = doc! {"usage_count": {"$lte": 3}, "is_active": true};
    assert!(t.python.find_one(usable.clone()).await.unwrap().is_none());
    t.python.update_one(doc! {"api_key": "sk-1"}, doc! {"$set": {"is_active": true}}).await.unwrap();
    assert_eq!(t.report(&leased, Outcome::Used).await, UsageCount::Whole(2));
    assert!(t.python.find_one(usable).await.unwrap().is_some());
    t.change(id, renamed("sk-2")).await;
    t.count_in_python("sk-2").await;
    assert_eq!(t.key(id).await.usage_count, UsageCount::Whole(1));
    assert!(t.try_lease().await.is_some());
}

fn odd_counts() -> Vec<Option<Bson>> {
    let two_to_the_53 = 9_007_199_254_740_992_i64;
    vec![
        None,
        Some(Bson::Null),
        Some(Bson::Double(2.0)),
        Some(Bson::Int64(2)),
        Some(Bson::Int32(-1)),
        Some(Bson::Double(0.5)),
        Some(Bson::Double(f64::NAN)),
        Some(Bson::Int64(two_to_the_53 + 1)),
        Some(Bson::String("2".to_owned())),
        Some(bson!([2])),
        Some(bson!({"n": 2})),
        Some(Bson::Boolean(true)),
    ]
}

async fn counts_of_all_kinds_are_repaired_by_a_change_and_by_a_reset(t: &Shared) {
    for (n, count) in odd_counts().into_iter().enumerate() {
        for (way, expected) in [("change", 1), ("reset", 0)] {
            let api_key = format!("sk-{way}-{n}");
            let mut document = new_in_python(&api_key);
            document.remove("usage_count");
            document.extend(count.clone().map(|count| ("usage_count".to_owned(), count)));
            let id = t.insert(document).await;
            if way == "change" {
                t.change(id, counted(1)).await;
            } else {
                assert_eq!(t.store.reset(&t.pool, &[key_id(id)]).await.unwrap(), [key_id(id)]);
            }
            let stored = t.document(id).await;
            assert_eq!(stored.get("usage_count"), Some(&Bson::Int64(expected)), "{way} of {count:?}");
            t.count_in_python(&api_key).await;
            let leased = t.try_lease().await.expect("it is the only one that is usable");
            assert_eq!((leased.id, leased.usage_count), (key_id(id), expected as u64 + 1));
            t.store.remove(&t.pool, key_id(id)).await.unwrap();
        }
    }
}

async fn a_reset_keeps_leases_and_what_others_wrote(t: &Shared) {
    let mut document = used_in_python("sk-1", 2, in_millis(5 * HOUR));
    document.extend(of_others());
    let id = t.insert(document).await;
    let leased = t.try_lease().await.unwrap();
    let mut before = t.document(id).await;
    let first = DateTime::now();
    t.store.reset(&t.pool, &[key_id(id)]).await.unwrap();
    let after = t.document(id).await;
    let stamp = *after.get_datetime("last_used").unwrap();
    // A date of the future gives way to the store's clock.
    assert!(stamp.timestamp_millis() >= first.timestamp_millis() - 1 && stamp < in_millis(HOUR));
    before.insert("usage_count", 0_i64);
    before.insert("last_used", stamp);
    assert_eq!(after, before);
    assert_eq!(t.report(&leased, Outcome::Used).await, UsageCount::Whole(1));
    // Of a batch in which some ids are gone, Python's switches and fields stay as well.
    let more = t.insert(doc! {"api_key": "sk-2", "usage_count": 9, "is_active": "yes"}).await;
    let ids = [key_id(id), KeyId::from_bytes([7; 12]), key_id(more)];
    let mut reset = t.store.reset(&t.pool, &ids).await.unwrap();
    reset.sort();
    assert_eq!(reset, [key_id(id), key_id(more)]);
    assert_eq!(t.document(more).await.get_str("is_active").ok(), Some("yes"));
}

async fn a_removed_key_is_gone_for_python_and_what_python_adds_again_is_new(t: &Shared) {
    let id = t.insert(used_in_python("sk-1", 2, in_millis(-HOUR))).await;
    let leased = t.try_lease().await.unwrap();
    assert!(t.store.remove(&t.pool, key_id(id)).await.unwrap());
    assert_eq!(t.python.count_documents(doc! {}).await.unwrap(), 0);
    // What counts by the secret finds nothing, and makes nothing.
    let count = doc! {"$inc": {"usage_count": 1}};
    assert_eq!(t.python.update_one(doc! {"api_key": "sk-1"}, count).await.unwrap().matched_count, 0);
    let again = t.insert(new_in_python("sk-1")).await;
    let old = keylend::domain::LeaseId { pool: t.pool.name.clone(), key: leased.id, entry: leased.entry };
    let report = keylend::domain::Report::new(Outcome::Used, None).unwrap();
    assert!(t.store.report(&t.pool, &old, report).await.unwrap().is_none());
    assert_eq!((t.key(again).await.usage_count, t.key(again).await.open_leases), (UsageCount::Whole(0), Some(0)));
    // The other way about: what Python deletes is gone here.
    t.python.delete_one(doc! {"api_key": "sk-1"}).await.unwrap();
    assert!(!t.store.remove(&t.pool, key_id(again)).await.unwrap());
    assert!(t.store.show(&t.pool, key_id(again)).await.unwrap().is_none());
    let change = t.store.change(&t.pool, key_id(again), &switched(true)).await.unwrap();
    assert!(matches!(change, Changed::UnknownKey), "{change:?}");
}

async fn changes_between_counts_of_both_lose_none(t: &Shared) {
    const EACH: i64 = 30;
    let id = t.insert(new_in_python("sk-1")).await;
    let python = async {
        for _ in 0..EACH {
            t.count_in_python("sk-1").await;
        }
    };
    let keylend = async {
        for _ in 0..EACH {
            t.increment(id).await;
        }
    };
    let operator = async {
        for n in 0..EACH {
            let note = Some((n % 2 > 0).then(|| n.to_string()));
            let rest = Some(if n % 3 > 0 { Rest::End } else { Rest::For(Duration::from_secs(60)) });
            t.change(id, KeyChange { note, rest, ..switched(n % 2 > 0) }).await;
            // The secret that it has already starts nothing afresh.
            t.change(id, renamed("sk-1")).await;
        }
    };
    tokio::join!(python, keylend, operator);
    let stored = t.document(id).await;
    assert_eq!(t.key(id).await.usage_count, UsageCount::Whole(2 * EACH as u64));
    assert_eq!(stored.get_str("note").ok(), Some("29"));
    assert!(!stored.contains_key("resting_until") && !stored.contains_key("disabled_reason"));
}

async fn every_kind_of_switch_and_date_is_shown_and_changed(t: &Shared) {
    let local = in_millis(2 * HOUR);
    for (n, (last_used, is_active)) in [
        (None, None),
        (Some(Bson::Null), Some(Bson::Null)),
        (Some(Bson::DateTime(local)), Some(Bson::Boolean(true))),
        (Some(Bson::String("yesterday".to_owned())), Some(Bson::String("true".to_owned()))),
        (Some(Bson::Int64(5)), Some(Bson::Int32(1))),
    ]
    .into_iter()
    .enumerate()
    {
        let mut document = doc! {"api_key": format!("sk-{n}"), "usage_count": 0};
        document.extend(last_used.clone().map(|value| ("last_used".to_owned(), value)));
        document.extend(is_active.clone().map(|value| ("is_active".to_owned(), value)));
        let id = t.insert(document.clone()).await;
        let shown = t.store.show(&t.pool, key_id(id)).await.unwrap().unwrap().value;
        let as_date = last_used.as_ref().and_then(Bson::as_datetime);
        assert_eq!(shown.key.last_used.map(Timestamp::as_millis), as_date.map(|date| date.timestamp_millis()));
        assert_eq!(shown.key.is_active, is_active == Some(Bson::Boolean(true)));
        // Other changes leave both as they are.
        t.change(id, counted(1)).await;
        let stored = t.document(id).await;
        assert_eq!((stored.get("last_used"), stored.get("is_active")), (last_used.as_ref(), is_active.as_ref()));
        assert!(t.change(id, switched(true)).await.key.is_active);
        assert_eq!(t.document(id).await.get("is_active"), Some(&Bson::Boolean(true)));
        assert!(!t.change(id, switched(false)).await.key.is_active);
        assert_eq!(t.document(id).await.get_str("disabled_reason").ok(), Some("operator"));
        assert_eq!(t.document(id).await.get("last_used"), last_used.as_ref());
    }
}

async fn credits_stay_and_are_told(t: &Shared) {
    let old = t.insert(doc! {"api_key": "sk-old", "credits_left": 24, "is_active": true}).await;
    t.insert(doc! {"api_key": "sk-both", "credits_left": 3.5, "usage_count": 1, "is_active": true}).await;
    t.insert(doc! {"api_key": "sk-none", "credits_left": Bson::Null, "is_active": true}).await;
    t.insert(new_in_python("sk-new")).await;
    let seen = t.store.examine(&t.pool, 9).await.unwrap();
    assert_eq!((seen.documents, seen.with_credits, seen.needs_migration, seen.invalid), (4, 2, 1, 2));
    t.change(old, switched(true)).await;
    assert!(!t.document(old).await.contains_key("usage_count"), "a change of something else is no migration");
    t.change(old, counted(1)).await;
    assert_eq!(t.document(old).await.get("credits_left"), Some(&Bson::Int32(24)));
    assert_eq!(t.store.examine(&t.pool, 9).await.unwrap().needs_migration, 0);
}

async fn the_same_secret_twice_is_named_by_ids_and_lent_all_the_same(t: &Shared) {
    let (pool, older) = t.other("older_api_keys");
    let mut ids = Vec::new();
    for n in 0..7 {
        let twins = [0, 1].map(|_| new_in_python(&format!("sk-twice-{n}")));
        ids.push(older.insert_many(twins).await.unwrap().inserted_ids);
    }
    older.insert_one(new_in_python("sk-once")).await.unwrap();
    older.insert_many([doc! {"api_key": ""}, doc! {"api_key": ""}, doc! {}, doc! {}]).await.unwrap();
    let named = |n: usize| [0, 1].map(|twin| ids[n][&twin].as_object_id().unwrap().to_hex());
    let notices = t.store.prepare(&pool).await.unwrap();
    let [notice] = &notices[..] else { panic!("{notices:?}") };
    assert!(notice.contains("older_api_keys") && notice.contains("it holds 7 api_key"), "{notice}");
    assert!(!notice.contains("sk-"), "{notice}");
    for n in 0..7 {
        assert_eq!(named(n).iter().all(|id| notice.contains(id)), n < 5, "{notice}");
    }
    let seen = t.store.examine(&pool, 3).await.unwrap();
    let mut expected: Vec<[String; 2]> = (0..3).map(named).collect();
    let mut listed = seen.duplicate_ids.clone();
    listed.iter_mut().for_each(|ids| ids.sort());
    expected.iter_mut().for_each(|ids| ids.sort());
    assert_eq!((seen.duplicates, listed), (7, expected.iter().map(|ids| ids.to_vec()).collect()));
    assert_eq!(seen.missing_indexes, ["keylend_api_key"]);
    assert!(t.store.find_usable_key(&pool, 4).await.unwrap().is_some());
    assert_eq!(t.store.stats(&pool, 4).await.unwrap().left, 15 * 4);
    // One document of each is kept: all is well at the next start.
    for twins in &ids {
        older.delete_one(doc! {"_id": &twins[&1]}).await.unwrap();
    }
    assert_eq!(t.store.prepare(&pool).await.unwrap(), Vec::<String>::new());
    let indexes = older.list_index_names().await.unwrap();
    assert!(!indexes.iter().any(|name| name.ends_with("not_unique")), "the one that stood in is gone: {indexes:?}");
    let seen = t.store.examine(&pool, 3).await.unwrap();
    assert_eq!((seen.duplicates, seen.missing_indexes), (0, Vec::new()));
    assert!(t.store.add(&pool, &[NewKey::fresh(secret("sk-new"))]).await.unwrap().race_proof);
}

async fn without_the_unique_index_twins_are_looked_for(t: &Shared) {
    let (pool, older) = t.other("older_api_keys");
    older.insert_many([new_in_python("sk-twice"), new_in_python("sk-twice"), new_in_python("sk-1")]).await.unwrap();
    assert_eq!(t.store.prepare(&pool).await.unwrap().len(), 1);
    // Look-ups by secret have an index all the same.
    let mut indexes = older.list_index_names().await.unwrap();
    indexes.retain(|name| name.contains("api_key"));
    assert_eq!(indexes, ["keylend_api_key_not_unique"]);
    let keys = ["sk-1", "sk-2", "sk-twice", "sk-2", "sk-3"].map(|text| NewKey::fresh(secret(text)));
    let added = t.store.add(&pool, &keys).await.unwrap();
    assert!(!added.race_proof);
    let is_new: Vec<bool> = added.verdicts.iter().map(|added| matches!(added, Added::New(_))).collect();
    assert_eq!(is_new, [false, true, false, false, true]);
    assert_eq!(t.store.add(&pool, &keys).await.unwrap().verdicts, [Added::Known; 5]);
    let [Added::New(two), Added::New(three)] = [added.verdicts[1], added.verdicts[4]] else { panic!() };
    // An id that is there is known by the server, whatever its secret.
    let twin_id = NewKey { id: Some(two), ..NewKey::fresh(secret("sk-4")) };
    assert_eq!(t.store.add(&pool, &[twin_id]).await.unwrap().verdicts, [Added::Known]);
    assert_eq!(older.count_documents(doc! {}).await.unwrap(), 5);
    // A use of a secret is counted on one of those that have it, also where several count together.
    let used = [KeyRef::Secret(secret("sk-twice")), KeyRef::Secret(secret("sk-twice"))];
    for together in [1, 2] {
        let counted = t.store.increment_all(&pool, &used[..together]).await.unwrap();
        assert!(counted.iter().all(|one| matches!(one, Some(Incremented::Counted { .. }))), "{counted:?}");
        t.store.increment_usage(&pool, &used[0]).await.unwrap();
    }
    assert_eq!(t.store.stats(&pool, 4).await.unwrap().counted, 5);
    for taken in ["sk-1", "sk-2", "sk-twice"] {
        let changed = t.store.change(&pool, three, &renamed(taken)).await.unwrap();
        assert!(matches!(changed, Changed::KnownSecret), "{changed:?}");
    }
    let changed = t.store.change(&pool, three, &renamed("sk-3")).await.unwrap();
    assert!(matches!(changed, Changed::Changed(_)), "{changed:?}");
    let changed = t.store.change(&pool, three, &renamed("sk-free")).await.unwrap();
    assert!(matches!(changed, Changed::Changed(_)), "{changed:?}");
    let all: Vec<Document> = older.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert!(all.iter().filter(|document| document.get_str("api_key").ok() == Some("sk-free")).count() == 1);
}

async fn an_index_of_others_keeps_secrets_unique_as_well(t: &Shared) {
    let (pool, older) = t.other("older_api_keys");
    let unique = ::mongodb::options::IndexOptions::builder().unique(true).build();
    let index = ::mongodb::IndexModel::builder().keys(doc! {"api_key": 1}).options(unique).build();
    older.create_index(index).await.unwrap();
    older.insert_one(new_in_python("sk-1")).await.unwrap();
    // Not prepared: keylend's own index is not there.
    let keys = ["sk-1", "sk-2"].map(|text| NewKey::fresh(secret(text)));
    let added = t.store.add(&pool, &keys).await.unwrap();
    assert!(added.race_proof && matches!(added.verdicts[..], [Added::Known, Added::New(_)]), "{added:?}");
}

async fn what_is_invalid_is_told_in_words(t: &Shared) {
    let good = || new_in_python("sk-good");
    let with = |field: &str, value: Bson| {
        let mut document = good();
        document.insert("api_key", ObjectId::new().to_hex());
        document.insert(field, value);
        document
    };
    let without = |field: &str| {
        let mut document = with("note", Bson::Null);
        document.remove(field);
        document
    };
    let text = |text: &str| Bson::String(text.to_owned());
    let rows = [
        (without("api_key"), "api_key is missing"),
        (with("api_key", Bson::Null), "api_key is null"),
        (with("api_key", text("")), "api_key is empty"),
        (with("api_key", Bson::Int32(7)), "api_key is a number"),
        (with("api_key", text("sk with spaces")), "api_key has a character that is not visible ASCII"),
        (with("api_key", text(&"x".repeat(4097))), "api_key is longer than 4096 characters"),
        (with("api_key", bson!(["sk-listed"])), "api_key is a list"),
        (without("usage_count"), "usage_count is missing"),
        (with("usage_count", text("2")), "usage_count is text"),
        (with("usage_count", Bson::Int64(-1)), "usage_count is negative"),
        (with("usage_count", Bson::Double(0.5)), "usage_count is not whole"),
        (with("usage_count", Bson::Double(-0.5)), "usage_count is negative"),
        (with("usage_count", Bson::Double(f64::NAN)), "usage_count is no finite number"),
        (with("usage_count", Bson::Double(1e300)), "usage_count is too large"),
        (with("usage_count", Bson::Double(f64::INFINITY)), "usage_count is no finite number"),
        (with("usage_count", Bson::Decimal128("2".parse().unwrap())), "usage_count is a decimal number"),
        (with("usage_count", Bson::Boolean(true)), "usage_count is true or false"),
        (with("leases", text("x")), "leases is text"),
        (with("leases", bson!([{"id": 1}])), "leases has an entry that is not keylend's"),
        (with("_id", text("sk-as-an-id")), "_id is text"),
        (with("_id", Bson::Int32(7)), "_id is a number"),
    ];
    t.insert(good()).await;
    for (document, reason) in &rows {
        t.python.delete_many(doc! {"api_key": {"$ne": "sk-good"}}).await.unwrap();
        let id = t.python.insert_one(document).await.unwrap().inserted_id;
        let seen = t.store.examine(&t.pool, 9).await.unwrap();
        let id = match id {
            Bson::ObjectId(id) => id.to_hex(),
            Bson::Int32(number) => format!("the number {number}"),
            _ => "an _id that is text".to_owned(),
        };
        assert_eq!(seen.invalid_keys, [InvalidKey { id, reasons: vec![(*reason).to_owned()] }]);
        assert_eq!((seen.documents, seen.invalid), (2, 1));
    }
    t.python.delete_many(doc! {}).await.unwrap();
    t.insert(doc! {"api_key": 1.5, "usage_count": "x", "leases": {"sk-field": 1}}).await;
    let all = &t.store.examine(&t.pool, 1).await.unwrap().invalid_keys[0].reasons;
    assert_eq!(*all, ["api_key is a number", "usage_count is text", "leases is a document"]);
    assert_eq!(t.store.stats(&t.pool, 4).await.unwrap().keys.of(State::Invalid), 1);
}

async fn a_collection_that_is_not_there_is_not_made_by_looking(t: &Shared) {
    let (pool, older) = t.other("older_api_keys");
    let seen = t.store.examine(&pool, 9).await.unwrap();
    assert!(!seen.exists && seen.missing_indexes.len() == 4, "{seen:?}");
    older.insert_one(new_in_python("sk-1")).await.unwrap();
    let seen = t.store.examine(&pool, 9).await.unwrap();
    assert!(seen.exists && seen.documents == 1 && seen.missing_indexes.len() == 4, "{seen:?}");
    assert_eq!(older.list_index_names().await.unwrap(), ["_id_"]);
    t.store.prepare(&pool).await.unwrap();
    assert_eq!(t.store.examine(&pool, 9).await.unwrap().missing_indexes, Vec::<String>::new());
}

async fn a_start_beside_a_database_with_keys_names_it(t: &Shared) {
    let here = t.python.namespace().db;
    let empty = database::TestDatabase::new();
    let store = empty.store().await;
    t.insert(new_in_python("sk-1")).await;
    let told = |notices: Vec<String>| notices.into_iter().find(|notice| notice.contains("MONGODB_DATABASE"));
    // Other tests have databases of that kind as well; one of them is named.
    let notice = told(store.prepare(&t.pool).await.unwrap()).expect("there is one beside it");
    let begins = format!("database {} has no stability_api_keys, but database ", empty.name);
    let named = notice.strip_prefix(&begins).expect(&notice).split(' ').next().unwrap();
    assert!(notice.ends_with(&format!("{named} has: set MONGODB_DATABASE={named}")), "{notice}");
    assert_ne!(named, empty.name);
    // Whose database has keys is told nothing, nor who looks at a collection that no older program has.
    assert_eq!(told(t.store.prepare(&t.pool).await.unwrap()), None);
    let (other, _) = t.other("plantid_api_keys");
    assert_eq!(told(store.prepare(&other).await.unwrap()), None);
    let found = store.databases().await.unwrap();
    let this = found.iter().find(|database| database.name == here).expect("it can be seen");
    assert!(!this.in_use && this.collections.iter().any(|(name, _)| name == "stability_api_keys"), "{this:?}");
    assert!(found.iter().any(|database| database.in_use && database.name == empty.name));
}
