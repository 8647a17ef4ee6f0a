//! A MongoDB database for one test: made under a name of its own, dropped at the end, also after a panic.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use keylend::store::mongodb::{MongoStore, MongoUri};
use mongodb::bson::oid::ObjectId;
use mongodb::{Client, Database};

// Makes cargo build the tests anew when the variable comes or goes: test-with looks at it while they are built.
const _: Option<&str> = option_env!("KEYLEND_TEST_MONGODB_URI");

/// The longest that a test waits for one answer of the store: a deadlock takes the compatible server a second.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What every database of a test starts with. No other is ever made or dropped.
const PREFIX: &str = "keylend_test_";

/// Runs a test on an empty database.
pub fn with_database(test: impl AsyncFnOnce(&Database)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be started").block_on(async {
        let client = Client::with_uri_str(uri()).await.expect("KEYLEND_TEST_MONGODB_URI is a connection string");
        let database = client.database(&format!("{PREFIX}{}", ObjectId::new()));
        let outcome = AssertUnwindSafe(test(&database)).catch_unwind().await;
        let dropped = database.drop().await;
        match outcome {
            Ok(()) => dropped.expect("a test's database can be dropped"),
            Err(panic) => resume_unwind(panic),
        }
    });
}

/// One instance's store on this database.
pub async fn instance(database: &Database) -> MongoStore {
    MongoStore::connect(&MongoUri::new(&uri()), Some(database.name()), TIME_LIMIT).await.expect("the URI is valid")
}

fn uri() -> String {
    std::env::var("KEYLEND_TEST_MONGODB_URI").expect("KEYLEND_TEST_MONGODB_URI is set, as it was for the build")
}
