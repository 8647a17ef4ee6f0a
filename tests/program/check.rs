//! `keylend check`: what it finds in folders and databases of old, and that it changes nothing.

use bson::oid::ObjectId;
use bson::{Document, doc};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{keylend, output};

on_both_stores!(a_pool_in_good_order_ends_with_0,);

/// What it prints with `--json`, what it prints for people, and its exit code.
fn check(folder: &TempDir, settings: &[(&str, String)]) -> (Option<i32>, Value, String) {
    let done = output(keylend(folder, settings, &["check", "--json"]), "");
    let plan = serde_json::from_slice(&done.stdout).unwrap_or(Value::Null);
    let told = output(keylend(folder, settings, &["check"]), "");
    assert_eq!(told.status.code(), done.status.code());
    (done.status.code(), plan, String::from_utf8(told.stdout).unwrap())
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

async fn a_pool_in_good_order_ends_with_0(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let settings = place.settings();
    let added = output(keylend(&folder, &settings, &["keys", "add"]), "sk-checked-0123456789");
    assert!(added.status.success(), "{added:?}");
    let (code, plan, told) = check(&folder, &settings);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!((&plan["findings"], &plan["next"]), (&json!([]), &json!(["keylend"])));
    let stability = &plan["pools"][0];
    assert_eq!((&stability["name"], &stability["documents"]), (&json!("stability"), &json!(1)));
    assert_eq!((&stability["keys"]["usable"], &stability["missing_indexes"]), (&json!(1), &json!([])));
    assert_eq!((&plan["store"]["exists"], &plan["store"]["error"]), (&json!(true), &Value::Null));
    assert!(told.contains("all is well") && !told.contains("checked-0"), "{told}");
}

#[test]
fn an_old_folder_is_told_what_to_type_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "FLASK_RUN_PORT=5001\nFLASK_DEBUG=True\nDISCORD_BOT_TOKEN=hush\n")
        .unwrap();
    std::fs::write(folder.path().join("plantid.txt"), "one-0123456789abcdef\n").unwrap();
    std::fs::write(folder.path().join("keylend.toml"), "\nstore_timeout = '7s'\n").unwrap();
    let settings = [("KEYLEND_BODY_LIMIT", "1 MiB".to_owned())];
    let (code, plan, told) = check(&folder, &settings);
    // Its key file is taken over by the start.
    assert_eq!(code, Some(0));
    assert_eq!(texts(&plan["next"]), ["keylend"]);
    assert_eq!(
        plan["key_files"][0],
        json!({"pool": "plantid", "path": "plantid.txt", "keys": 1, "invalid": 0, "error": null})
    );
    assert_eq!(plan["store"]["exists"], false);
    let from = |setting: &str| {
        let told = plan["settings"].as_array().unwrap().iter().find(|told| told["setting"] == setting).unwrap();
        format!("{} from {}", told["value"].as_str().unwrap(), told["origin"].as_str().unwrap())
    };
    assert_eq!(from("KEYLEND_LISTEN"), "127.0.0.1:5001 from default");
    assert_eq!(from("FLASK_RUN_PORT"), "5001 from .env");
    assert_eq!(from("KEYLEND_BODY_LIMIT"), "1.0 MiB from environment");
    assert_eq!(from("KEYLEND_STORE_TIMEOUT"), "7s from keylend.toml line 2");
    assert_eq!(from("RUST_LOG"), "debug from default");
    assert!(told.contains("not there yet") && !told.contains("hush"), "{told}");
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".env", "keylend.toml", "plantid.txt"]);
}

#[test]
fn key_files_are_counted_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plantid.txt"), "hush-0123456789abcdef\n\nhush hush\nhush-2\nhush-2").unwrap();
    let (code, plan, told) = check(&folder, &[("HEALTHID_FILE", "mine.txt".to_owned())]);
    assert_eq!(code, Some(1), "{told}");
    let file = |n: usize, fact: &str| plan["key_files"][n][fact].clone();
    assert_eq!((file(0, "pool"), file(0, "keys"), file(0, "invalid")), (json!("plantid"), json!(2), json!(1)));
    assert_eq!((file(1, "path"), file(1, "error")), (json!("mine.txt"), json!("there is no such file")));
    let findings = texts(&plan["findings"]);
    assert!(findings.iter().any(|finding| finding.contains("plantid.txt: 1 of its lines")), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.contains("mine.txt: there is no such file")), "{findings:?}");
    assert!(told.contains("plantid.txt") && !told.contains("hush"), "{told}");
}

#[test]
fn a_store_that_cannot_be_asked_ends_with_2_and_faults_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let uri = "mongodb://me:hush@127.0.0.1:1/x?directConnection=true".to_owned();
    let settings = [("MONGODB_URI", uri), ("KEYLEND_STORE_TIMEOUT", "200ms".to_owned())];
    let (code, plan, told) = check(&folder, &settings);
    assert_eq!(code, Some(2), "{told}");
    assert!(plan["store"]["error"].is_string() && texts(&plan["next"]) == ["keylend check"], "{plan}");
    assert!(!told.contains("hush") && !plan.to_string().contains("hush"), "{told}");
    std::fs::write(folder.path().join("keylend.db"), "my diary\n".repeat(500)).unwrap();
    assert_eq!(check(&folder, &[]).0, Some(2));
    assert_eq!(check(&folder, &[("KEYLEND_LISTEN", "x".to_owned())]).0, Some(64));
}

/// A document as the old programs left them, with other fields.
fn old(api_key: &str, fields: Document) -> Document {
    let mut document = doc! {"_id": ObjectId::new(), "api_key": api_key, "is_active": true};
    document.extend(fields);
    document
}

#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
#[test]
fn an_old_database_is_told_of_document_by_document_and_left_as_it_is() {
    crate::run(async {
        let place = Place::mongodb();
        let Place::Database(database) = &place else { unreachable!() };
        let client = ::mongodb::Client::with_uri_str(&database.uri).await.unwrap();
        let keys = client.database(&database.name).collection::<Document>("stability_api_keys");
        let documents = [
            old("sk-old-one", doc! {"credits_left": 20}),
            old("sk-old-two", doc! {"credits_left": 24, "usage_count": 1}),
            old("sk-old-twin", doc! {"usage_count": 1}),
            old("sk-old-twin", doc! {"usage_count": 2}),
            old("sk-old-odd", doc! {"usage_count": "three"}),
            old("sk-old-spent", doc! {"usage_count": 4.0}),
        ];
        keys.insert_many(&documents).await.unwrap();
        let id = |number: usize| documents[number].get_object_id("_id").unwrap().to_hex();
        let folder = tempfile::tempdir().unwrap();
        let (code, plan, told) = check(&folder, &place.settings());
        assert_eq!(code, Some(1), "{told}");
        let stability = &plan["pools"][0];
        for (fact, count) in
            [("documents", 6), ("with_credits", 2), ("needs_migration", 1), ("duplicates", 1), ("invalid", 2)]
        {
            assert_eq!(stability[fact], count, "{fact}: {stability}");
        }
        assert_eq!((&stability["keys"]["usable"], &stability["keys"]["spent"]), (&json!(3), &json!(1)));
        let mut twins = texts(&stability["duplicate_ids"][0]);
        twins.sort_unstable();
        assert_eq!(twins, [id(2), id(3)]);
        let invalid = stability["invalid_keys"].as_array().unwrap();
        let odd = invalid.iter().find(|key| key["id"] == id(4)).expect("named");
        assert_eq!(texts(&odd["reasons"]), ["usage_count is text"]);
        assert!(!texts(&stability["missing_indexes"]).is_empty());
        assert_eq!(texts(&plan["next"]), ["keylend-migrate", "keylend keys remove --pool stability ID", "keylend"]);
        assert_eq!(plan["findings"].as_array().unwrap().len(), 3, "{told}");
        for fact in [id(2), id(4), "usage_count is text".to_owned(), "keylend-migrate".to_owned()] {
            assert!(told.contains(&fact), "{fact}: {told}");
        }
        assert!(!told.contains("sk-old"), "{told}");
        assert!(!plan.to_string().contains("sk-old"), "{plan}");
        // Nothing was made.
        let database = client.database(&database.name);
        assert_eq!(database.list_collection_names().await.unwrap(), ["stability_api_keys"]);
        assert_eq!(keys.list_index_names().await.unwrap(), ["_id_"]);
    });
}

#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
#[test]
fn keys_in_another_database_are_named_with_the_setting() {
    crate::run(async {
        let (place, other) = (Place::mongodb(), Place::mongodb());
        let Place::Database(database) = &other else { unreachable!() };
        let client = ::mongodb::Client::with_uri_str(&database.uri).await.unwrap();
        let keys = client.database(&database.name).collection::<Document>("stability_api_keys");
        keys.insert_one(old("sk-old-one", doc! {"usage_count": 1})).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (code, plan, told) = check(&folder, &place.settings());
        assert_eq!(code, Some(1), "{told}");
        let finding = texts(&plan["findings"])[0];
        assert!(finding.contains(&database.name) && finding.contains("MONGODB_DATABASE="), "{finding}");
        let next = texts(&plan["next"])[0];
        assert!(next.starts_with("MONGODB_DATABASE=keylend_test_") && next.ends_with(" keylend check"), "{next}");
        let mut databases = plan["databases"].as_array().unwrap().iter();
        assert!(databases.any(|found| found["name"] == database.name.as_str() && found["in_use"] == false), "{plan}");
    });
}
