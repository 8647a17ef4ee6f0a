//! The plans of MongoDB itself: a pick reads a few entries of its index, and sorts nothing.
//!
//! The server's profiler is asked, which notes what each command did. A compatible server has none and other plans,
//! so these tests need `KEYLEND_TEST_REAL_MONGOD` as well.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "support/database.rs"]
mod database;

use std::time::Duration;

use bson::{Bson, Document, doc, oid::ObjectId};
use futures_util::TryStreamExt;
use keylend::domain::{EntryId, IdempotencyDigest, Picks, Policy};
use keylend::store::{LeaseAnswer, LeaseRequest, Store};
use mongodb::Database;

// As in the module above: cargo builds anew when the variable comes or goes.
const _: Option<&str> = option_env!("KEYLEND_TEST_REAL_MONGOD");

/// More than a pick may read, of each count.
const KEYS_OF_EACH_COUNT: usize = 300;

#[test_with::env(KEYLEND_TEST_MONGODB_URI, KEYLEND_TEST_REAL_MONGOD)]
#[test]
fn a_pick_in_the_order_of_last_use_reads_two_keys_of_each_count_at_most() {
    picks_read_little(Picks::LeastRecentlyUsed, 4);
}

#[test_with::env(KEYLEND_TEST_MONGODB_URI, KEYLEND_TEST_REAL_MONGOD)]
#[test]
fn a_pick_in_the_order_of_adding_reads_two_keys_of_each_count_at_most() {
    picks_read_little(Picks::InOrder, 100);
}

fn picks_read_little(picks: Picks, uses_per_key: u32) {
    database::with_database(async |database| {
        let build = database.run_command(doc! {"buildInfo": 1}).await.unwrap();
        assert!(!build.contains_key("ferretdb"), "KEYLEND_TEST_REAL_MONGOD is set, and the server is FerretDB");
        let store = database::instance(database).await;
        let pool = Policy::new("planned".parse().unwrap(), picks, uses_per_key);
        store.prepare(&pool).await.unwrap();
        // Spent keys are far older than all others: a plan that walked them would read them all.
        let keys = (0..=i64::from(uses_per_key)).flat_map(|count| (0..KEYS_OF_EACH_COUNT).map(move |n| (count, n)));
        let keys = keys.enumerate().map(|(n, (count, of_count))| {
            let at = if count == i64::from(uses_per_key) { of_count as i64 } else { 1_000_000 + n as i64 };
            doc! {
                "_id": ObjectId::new(), "api_key": format!("sk-{n}"), "usage_count": count, "is_active": true,
                "last_used": bson::DateTime::from_millis(at), "order": at,
            }
        });
        database.collection::<Document>(&pool.collection).insert_many(keys).await.unwrap();

        database.run_command(doc! {"profile": 2}).await.unwrap();
        store.peek_usable_key(&pool, uses_per_key).await.unwrap().unwrap();
        store.find_usable_key(&pool, uses_per_key).await.unwrap().unwrap();
        store.take(&pool, 1).await.unwrap().unwrap();
        let entry = EntryId::from_bytes(rand::random());
        let idem = IdempotencyDigest::none(entry);
        let request = LeaseRequest { entry, ttl: Duration::from_secs(300), by: String::new(), idem };
        let leased = store.lease(&pool, &request).await.unwrap();
        assert!(matches!(leased, LeaseAnswer::New(_)), "{leased:?}");
        database.run_command(doc! {"profile": 0}).await.unwrap();

        let commands = profiled(database, &pool).await;
        assert_eq!(commands.len(), 4, "one command each: {commands:?}");
        for command in commands {
            let examined = number(&command, "keysExamined");
            assert!(examined <= 2 * i64::from(uses_per_key), "{examined} keys examined by {command}");
            assert!(number(&command, "docsExamined") <= 2 * i64::from(uses_per_key), "{command}");
            assert_ne!(command.get("hasSortStage"), Some(&Bson::Boolean(true)), "{command}");
        }
    });
}

/// What the profiler noted of the pool, without what it noted of itself.
async fn profiled(database: &Database, pool: &Policy) -> Vec<Document> {
    let filter = doc! {"ns": format!("{}.{}", database.name(), pool.collection)};
    let noted = database.collection::<Document>("system.profile").find(filter).await.unwrap();
    noted.try_collect().await.unwrap()
}

fn number(document: &Document, field: &str) -> i64 {
    match document.get(field) {
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Int64(number)) => *number,
        other => panic!("{field} is {other:?} in {document}"),
    }
}
