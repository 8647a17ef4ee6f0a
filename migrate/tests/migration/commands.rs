//! What can be typed, what it says, and what it ends with.

use bson::{Bson, doc};
use serde_json::{Value, json};

use crate::database::{self, TestDatabase};
use crate::support::{Migration, changed, told};

/// Makes a test of each function, on a database of its own.
macro_rules! on_mongodb {
    ($($test:ident),+ $(,)?) => {
        mod mongodb {
            $(#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
            #[test]
            fn $test() {
                crate::database::with_database(async |database| {
                    super::$test(&crate::support::Migration::of(database)).await;
                });
            })+
        }
    };
}

pub(crate) use on_mongodb;

on_mongodb! {
    a_summary_tells_what_became_of_each_key,
    what_is_invalid_is_named_with_its_reason_and_left_as_it_is,
    counts_that_were_earned_are_kept_however_often_it_is_run,
    a_dry_run_tells_the_same_and_writes_nothing,
    counts_that_disagree_are_kept_and_listed_until_the_larger_is_taken,
    keys_are_listed_masked_the_first_twenty_by_default,
    a_lost_count_and_a_wrong_base_are_found_by_verifying,
    undoing_asks_or_needs_yes,
    counts_near_the_largest_make_no_key_invalid,
    counts_are_reset_as_by_keylend,
    another_pool_can_be_migrated,
    what_keylend_added_is_left_alone,
    an_empty_collection_is_no_failure,
    the_command_line_is_told_how_to_be_used,
    no_secret_is_told,
}

fn old(secret: &str, credits: impl Into<Bson>) -> bson::Document {
    doc! {"api_key": secret, "credits_left": credits, "last_checked": bson::DateTime::from_millis(7), "is_active": true}
}

async fn a_summary_tells_what_became_of_each_key(t: &Migration) {
    let all = [
        old("sk-0123456789-fresh", 25.0),
        old("sk-0123456789-two", 23.0),
        old("sk-0123456789-started", 24.3),
        doc! {"api_key": "sk-0123456789-done", "usage_count": 2, "is_active": true},
        doc! {"api_key": "sk-0123456789-fraction", "usage_count": 0.7, "credits_left": 24.3},
        doc! {"api_key": "sk-0123456789-below", "usage_count": 1, "credits_left": 20.0},
        doc! {"api_key": "sk-0123456789-text", "credits_left": "20"},
    ];
    t.keys.insert_many(all).await.unwrap();
    let told = told(&t.output(&["--list", "0"]));
    for line in ["total 7", "migrated 5", "already done 1", "disagree 1", "invalid 1"] {
        let (name, number) = line.rsplit_once(' ').unwrap();
        let found = told.lines().any(|line| line.trim().starts_with(name) && line.trim().ends_with(number));
        assert!(found, "{line}: {told}");
    }
    let rows = |wanted: &str| {
        let row = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        row.into_iter().find(|row| row.first() == Some(&wanted) && row.len() == 3).unwrap_or_else(|| panic!("{told}"))
    };
    assert_eq!(rows("none"), ["none", "3", "0"]);
    assert_eq!(rows("fraction"), ["fraction", "1", "0"]);
    assert_eq!(rows("0"), ["0", "0", "1"]);
    assert_eq!(rows("1"), ["1", "1", "3"]);
    assert_eq!(rows("2"), ["2", "1", "2"]);
    assert_eq!(rows("invalid"), ["invalid", "1", "1"]);

    let again = t.json(1, &["--list", "0"]);
    let numbers = ["total", "migrated", "raised", "already_done", "disagree", "invalid", "left"];
    assert_eq!(numbers.map(|number| again[number].as_u64().unwrap()), [7, 0, 0, 6, 1, 1, 0]);
    assert_eq!(again["before"], again["after"]);
    assert_eq!(
        (&again["pool"], &again["dry_run"], &again["stopped_by"]),
        (&json!("stability"), &json!(false), &json!(null))
    );
    assert_eq!(
        again["after"],
        json!([
            {"usage_count": 0, "keys": 1}, {"usage_count": 1, "keys": 3}, {"usage_count": 2, "keys": 2},
            {"usage_count": "invalid", "keys": 1},
        ])
    );
}

async fn what_is_invalid_is_named_with_its_reason_and_left_as_it_is(t: &Migration) {
    let rows = [
        (old("sk-1", "20"), "credits_left is text"),
        (old("sk-2", f64::NAN), "credits_left is NaN"),
        (old("sk-3", f64::NEG_INFINITY), "credits_left is infinite"),
        (old("sk-4", Bson::Null), "credits_left is null"),
        (old("sk-5", vec![20]), "credits_left is a list"),
        (old("sk-6", 1e300), "credits_left is a number out of range"),
        (doc! {"credits_left": 20}, "api_key is missing"),
        (doc! {"api_key": Bson::Null, "credits_left": 20}, "api_key is null"),
        (doc! {"api_key": "two words", "credits_left": 20}, "api_key has a character that is not visible ASCII"),
        (doc! {"api_key": "sk-7", "usage_count": "3", "credits_left": 20}, "usage_count is text"),
        (doc! {"api_key": "sk-8", "usage_count": -1, "credits_left": 20}, "usage_count is negative"),
        (doc! {"api_key": "sk-9", "usage_count": 1, "legacy": {"base": 3}}, "legacy is not as a migration leaves it"),
    ];
    let ids = t.keys.insert_many(rows.iter().map(|(document, _)| document)).await.unwrap().inserted_ids;
    let good = t.keys.insert_one(old("sk-good", 20)).await.unwrap().inserted_id;
    let before = t.snapshot().await;
    let summary = t.json(1, &[]);
    assert_eq!((&summary["invalid"], &summary["migrated"]), (&json!(rows.len()), &json!(1)));
    let named = summary["invalid_keys"].as_array().unwrap();
    for (n, (_, reason)) in rows.iter().enumerate() {
        let id = ids[&n].as_object_id().unwrap().to_hex();
        assert!(named.contains(&json!({"id": id, "reasons": [reason]})), "{reason}: {named:?}");
    }
    let after = t.snapshot().await;
    assert_eq!(changed(&before, &after).keys().collect::<Vec<_>>(), [&format!("{good:?}")]);
    let verified = t.json(1, &["--verify"]);
    assert_eq!((&verified["invalid"], &verified["right"]), (&json!(rows.len()), &json!(1)));
}

/// The older script reckoned the count anew from the credits each time, and so lost what was counted since.
async fn counts_that_were_earned_are_kept_however_often_it_is_run(t: &Migration) {
    let key = doc! {"api_key": "sk-earned"};
    t.keys.insert_one(old("sk-earned", 23.0)).await.unwrap();
    for run in 1..=3 {
        t.json(0, &[]);
        t.keys.update_one(key.clone(), doc! {"$inc": {"usage_count": 1}}).await.unwrap();
        let stored = t.keys.find_one(key.clone()).await.unwrap().unwrap();
        assert_eq!(stored.get_i64("usage_count").unwrap(), 2 + run, "{stored}");
    }
    // Also where its credits come back, as that script left them.
    t.keys.update_one(key.clone(), doc! {"$set": {"credits_left": 23.0}}).await.unwrap();
    t.json(0, &[]);
    let stored = t.keys.find_one(key).await.unwrap().unwrap();
    assert_eq!((stored.get_i64("usage_count").unwrap(), stored.contains_key("credits_left")), (5, false), "{stored}");
}

async fn a_dry_run_tells_the_same_and_writes_nothing(t: &Migration) {
    let all = (0..30).map(|n| old(&format!("sk-0123456789-{n:02}"), 25.0 - f64::from(n) / 4.0));
    t.keys.insert_many(all).await.unwrap();
    t.keys.insert_one(doc! {"api_key": "sk-below", "usage_count": 1, "credits_left": 3}).await.unwrap();
    for arguments in [&["--take-larger"][..], &[]] {
        let before = t.snapshot().await;
        let mut dry = t.json(0, &[&["--dry-run"], arguments].concat());
        assert_eq!(t.snapshot().await, before);
        assert_eq!(dry["migrated"], 31);
        let mut done = t.json(0, arguments);
        assert_eq!((dry["dry_run"].take(), done["dry_run"].take()), (json!(true), json!(false)));
        // The one without a date gets that of the run.
        assert_eq!(dry, done, "{arguments:?}");
        let mut undone = t.json(0, &["--undo", "--dry-run"]);
        assert_eq!((undone["undone"].take(), t.json(0, &[])["migrated"].take()), (json!(31), json!(0)));
        t.json(0, &["--undo", "--yes"]);
    }
}

async fn counts_that_disagree_are_kept_and_listed_until_the_larger_is_taken(t: &Migration) {
    let id = t.keys.insert_one(doc! {"api_key": "sk-below", "usage_count": 1, "credits_left": 20}).await.unwrap();
    let id = id.inserted_id.as_object_id().unwrap().to_hex();
    let count = async || {
        let stored = t.keys.find_one(doc! {}).await.unwrap().unwrap();
        stored.get_i32("usage_count").map(i64::from).or_else(|_| stored.get_i64("usage_count")).unwrap()
    };
    for (run, count_told) in [(0, 1), (1, 1), (2, 2)] {
        let summary = t.json(0, &[]);
        assert_eq!(summary["disagree"], 1, "{summary}");
        let told = format!("usage_count is {count_told}, by the credits it would be {}", count_told + 4);
        assert_eq!(summary["disagreeing_keys"], json!([{"id": id, "reasons": [told]}]));
        assert_eq!((count().await, &t.json(0, &["--verify"])["disagree"]), (count_told, &json!(1)));
        if run > 0 {
            t.keys.update_one(doc! {}, doc! {"$inc": {"usage_count": 1}}).await.unwrap();
        }
    }
    assert_eq!(count().await, 3);
    assert_eq!(t.json(0, &["--take-larger", "--dry-run"])["raised"], 1);
    assert_eq!(t.json(0, &["--take-larger"])["raised"], 1);
    // The two that were counted since are counted still.
    assert_eq!(count().await, 7);
    let again = t.json(0, &["--take-larger"]);
    assert_eq!((&again["raised"], &again["disagree"], count().await), (&json!(0), &json!(0), 7));
    t.json(0, &["--verify"]);
    // So are fractions, whether the larger is taken later or at once.
    let fraction = |secret| doc! {"api_key": secret, "usage_count": 0.7, "credits_left": 20};
    t.keys.insert_one(fraction("sk-later")).await.unwrap();
    let summary = t.json(0, &[]);
    assert_eq!(summary["disagreeing_keys"][0]["reasons"], json!(["usage_count is 1, by the credits it would be 5"]));
    t.keys.insert_one(fraction("sk-at-once")).await.unwrap();
    let summary = t.json(0, &["--take-larger"]);
    assert_eq!((&summary["migrated"], &summary["raised"], &summary["disagree"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(t.keys.count_documents(doc! {"usage_count": 5}).await.unwrap(), 2);
    assert_eq!(t.json(0, &["--verify"])["right"], 3);
}

async fn keys_are_listed_masked_the_first_twenty_by_default(t: &Migration) {
    t.keys.insert_many((0..30).map(|n| old(&format!("sk-0123456789-{n:02}"), 24))).await.unwrap();
    let listed = |summary: Value| summary["keys"].as_array().unwrap().clone();
    let first = listed(t.json(0, &[]));
    assert_eq!(first.len(), 20);
    assert_eq!(first[7]["masked"], "sk-01...9-07");
    assert_eq!((&first[7]["usage_count"], &first[7]["is_active"]), (&json!(1), &json!(true)));
    assert_eq!(first[7]["last_used"], "1970-01-01T00:00:00.007Z");
    assert_eq!(listed(t.json(0, &["--list", "3"])), first[..3]);
    assert_eq!(listed(t.json(0, &["--list", "0"])).len(), 0);
    assert_eq!(listed(t.json(0, &["--list", "1000"])).len(), 30);
    let told = told(&t.output(&[]));
    assert_eq!(told.matches("sk-01...").count(), 20, "{told}");
}

async fn a_lost_count_and_a_wrong_base_are_found_by_verifying(t: &Migration) {
    t.keys.insert_many([old("sk-lost", 20), old("sk-wrong", 20), old("sk-right", 20)]).await.unwrap();
    assert_eq!(t.json(1, &["--verify"])["not_migrated"], 3);
    t.json(0, &[]);
    assert_eq!(t.json(0, &["--verify"])["right"], 3);
    t.keys.update_one(doc! {"api_key": "sk-lost"}, doc! {"$set": {"usage_count": 4}}).await.unwrap();
    let lowered = t.json(0, &["--verify"]);
    assert_eq!((&lowered["right"], &lowered["lowered"]), (&json!(2), &json!(1)));
    let wrong = doc! {"$set": {"legacy.base.usage_count": 4}};
    t.keys.update_one(doc! {"api_key": "sk-wrong"}, wrong).await.unwrap();
    let found = t.json(1, &["--verify"]);
    assert_eq!((&found["wrong"], &found["right"]), (&json!(1), &json!(1)));
    assert_eq!(found["wrong_keys"][0]["reasons"], json!(["legacy.base.usage_count is 4, and should be 5"]));
    // Nor may its last use have moved back.
    let kept = t.keys.find_one(doc! {"api_key": "sk-right"}).await.unwrap().unwrap();
    let legacy = kept.get_document("legacy").unwrap();
    let last = legacy.get_datetime("last_used").or_else(|_| legacy.get_datetime("last_checked")).unwrap();
    let earlier = bson::DateTime::from_millis(last.timestamp_millis() - 1);
    let wrong = doc! {"$set": {"legacy.base.last_used": earlier}};
    t.keys.update_one(doc! {"api_key": "sk-right"}, wrong).await.unwrap();
    let found = t.json(1, &["--verify"]);
    assert_eq!((&found["wrong"], &found["right"]), (&json!(2), &json!(0)));
}

async fn undoing_asks_or_needs_yes(t: &Migration) {
    t.keys.insert_one(old("sk-1", 20)).await.unwrap();
    t.json(0, &[]);
    let before = t.snapshot().await;
    for arguments in [&["--undo"][..], &["--reset-usage"]] {
        let refused = t.output(arguments);
        assert_eq!(refused.status.code(), Some(64));
        assert!(told(&refused).contains("--yes"), "{}", told(&refused));
    }
    assert_eq!(t.snapshot().await, before);
    assert_eq!(t.json(0, &["--undo", "--yes"])["undone"], 1);
    let again = t.json(0, &["--undo", "--yes"]);
    assert_eq!((&again["undone"], &again["not_migrated"]), (&json!(0), &json!(1)));
}

async fn counts_near_the_largest_make_no_key_invalid(t: &Migration) {
    let most = 9_007_199_254_740_992_i64;
    let owing = |secret| doc! {"api_key": secret, "credits_left": 25 - most, "is_active": true};
    let mut below = owing("sk-below");
    below.insert("usage_count", 1);
    t.keys.insert_many([owing("sk-none"), below]).await.unwrap();
    t.json(0, &[]);
    t.keys.update_one(doc! {"api_key": "sk-below"}, doc! {"$inc": {"usage_count": 5}}).await.unwrap();
    assert_eq!(t.json(0, &["--take-larger"])["raised"], 1);
    t.json(0, &["--verify"]);
    // A count below 0 is somebody else's, and goes when it is undone.
    t.keys.update_one(doc! {"api_key": "sk-none"}, doc! {"$set": {"usage_count": -5}}).await.unwrap();
    assert_eq!(t.json(0, &["--undo", "--yes"])["undone"], 2);
    assert_eq!(t.json(0, &[])["invalid"], 0);
    t.json(0, &["--verify"]);
}

async fn counts_are_reset_as_by_keylend(t: &Migration) {
    assert_eq!(t.json(1, &["--reset-usage", "--yes"]), json!({"reset": 0}));
    t.keys.insert_many([old("sk-1", 20), old("sk-2", 3)]).await.unwrap();
    t.json(0, &[]);
    assert_eq!(t.json(0, &["--reset-usage", "--yes"]), json!({"reset": 2}));
    let stored = t.keys.find_one(doc! {"api_key": "sk-1"}).await.unwrap().unwrap();
    assert_eq!(stored.get_i64("usage_count").unwrap(), 0);
    // What a reset took away is not brought back by undoing and migrating.
    t.json(0, &["--undo", "--yes"]);
    t.json(0, &[]);
    let stored = t.keys.find_one(doc! {"api_key": "sk-1"}).await.unwrap().unwrap();
    assert_eq!(stored.get_i64("usage_count").unwrap(), 0, "{stored}");
    // Nor by taking the larger, whatever was counted since.
    let below = |secret, count| doc! {"api_key": secret, "usage_count": count, "credits_left": 20};
    t.keys.insert_many([below("sk-none", 0), below("sk-one", 1)]).await.unwrap();
    assert_eq!(t.json(0, &[])["disagree"], 2);
    t.json(0, &["--reset-usage", "--yes"]);
    t.keys.update_one(doc! {"api_key": "sk-one"}, doc! {"$inc": {"usage_count": 1}}).await.unwrap();
    let summary = t.json(0, &["--take-larger"]);
    assert_eq!((&summary["raised"], &summary["disagree"]), (&json!(0), &json!(0)), "{summary}");
    t.json(0, &["--verify"]);
}

async fn another_pool_can_be_migrated(t: &Migration) {
    let keys = t.keys.client().database(&t.keys.namespace().db).collection("plantid_api_keys");
    keys.insert_one(old("sk-1", 20)).await.unwrap();
    assert_eq!(t.json(0, &[])["total"], 0);
    assert_eq!(t.json(0, &["--pool", "plantid"])["migrated"], 1);
    let unknown = t.output(&["--pool", "planted"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(told(&unknown).contains("stability, plantid, healthid"), "{}", told(&unknown));
}

async fn what_keylend_added_is_left_alone(t: &Migration) {
    use keylend::domain::{NewKey, Policy, Secret};
    use keylend::store::Store;
    let store = database::instance(&t.keys.client().database(&t.keys.namespace().db)).await;
    let [pool, ..] = Policy::built_in();
    store.prepare(&pool).await.unwrap();
    store.add(&pool, &[NewKey::fresh(Secret::parse("sk-new").unwrap())]).await.unwrap();
    let before = t.snapshot().await;
    let summary = t.json(0, &[]);
    assert_eq!((&summary["already_done"], &summary["migrated"]), (&json!(1), &json!(0)));
    assert_eq!(t.json(0, &["--verify"])["right"], 1);
    t.json(0, &["--undo", "--yes"]);
    assert_eq!(t.snapshot().await, before);
}

async fn an_empty_collection_is_no_failure(t: &Migration) {
    for arguments in [&[][..], &["--dry-run"], &["--verify"], &["--undo", "--yes"]] {
        assert_eq!(t.json(0, arguments)["total"], 0);
    }
    let names = t.keys.client().database(&t.keys.namespace().db).list_collection_names().await.unwrap();
    assert_eq!(names, [""; 0], "looking made a collection");
    // Where they are in another database, that one is named.
    let other = TestDatabase::new();
    let there = t.keys.client().database(&other.name).collection("stability_api_keys");
    there.insert_one(old("sk-elsewhere", 20)).await.unwrap();
    let told = told(&t.output(&["--dry-run"]));
    assert!(told.contains("set MONGODB_DATABASE="), "{told}");
}

async fn the_command_line_is_told_how_to_be_used(t: &Migration) {
    let help = t.output(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for part in ["Examples:", "--dry-run", "--take-larger", "--undo --yes", "--verify", "Ends with 0"] {
        assert!(told(&help).contains(part), "{part}");
    }
    for arguments in [
        &["--verify", "--undo"][..],
        &["--dry-run", "--verify"],
        &["--take-larger", "--undo"],
        &["--reset-usage", "--undo"],
        &["--list", "many"],
        &["extra"],
    ] {
        assert_eq!(t.output(arguments).status.code(), Some(64), "{arguments:?}");
    }
    let mut embedded = t.command(&[]);
    embedded.env_remove("MONGODB_URI");
    let refused = embedded.output().unwrap();
    assert_eq!(refused.status.code(), Some(64));
    assert!(told(&refused).contains("keylend-migrate: MONGODB_URI: "), "{}", told(&refused));
    let mut away = t.command(&["--store-timeout", "200ms"]);
    away.env("MONGODB_URI", "mongodb://me:hush@127.0.0.1:1/");
    let failed = away.output().unwrap();
    assert_eq!(failed.status.code(), Some(2));
    assert!(!told(&failed).contains("hush") && !told(&failed).is_empty(), "{}", told(&failed));
}

async fn no_secret_is_told(t: &Migration) {
    let secrets = ["sk-hush-hush-0123456789", "sk-hush-text", "sk-hush space", "sk-hush-id"];
    t.keys
        .insert_many([
            old(secrets[0], 20),
            old(secrets[1], "20"),
            old(secrets[2], 20),
            doc! {"_id": secrets[3], "api_key": "sk-0123456789-hush", "credits_left": Bson::Null},
        ])
        .await
        .unwrap();
    for arguments in
        [&["--dry-run"][..], &[], &["--verify"], &["--json"], &["--undo", "--yes"], &["--reset-usage", "--yes"]]
    {
        let output = t.command(arguments).env("RUST_LOG", "trace").output().unwrap();
        for secret in ["hush-hush", "hush-text", "hush space", "hush-id"] {
            assert!(!told(&output).contains(secret), "{arguments:?}: {}", told(&output));
        }
    }
}
