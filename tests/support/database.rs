//! A MongoDB database for one test: made under a name of its own, dropped at the end, also after a panic.

use std::time::Duration;

use keylend::store::mongodb::{MongoStore, MongoUri};
use keylend::store::vault::{DigestKey, EncryptionKey, Vault};
use mongodb::{Client, Database};

// Makes cargo build the tests anew when the variable comes or goes: test-with looks at it while they are built.
const _: Option<&str> = option_env!("KEYLEND_TEST_MONGODB_URI");

/// The longest that a test waits for one answer of the store: far above what is needed, so that a slow machine fails
/// no test.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What every database of a test starts with. No other is ever made or dropped.
const PREFIX: &str = "keylend_test_";

/// A database that is dropped with its owner.
pub struct TestDatabase {
    /// The server.
    pub uri: String,
    /// The database.
    pub name: String,
}

impl TestDatabase {
    /// A database that nobody else has. It comes to be when it is first written to.
    pub fn new() -> Self {
        let uri = std::env::var("KEYLEND_TEST_MONGODB_URI").expect("set, as it was when the tests were built");
        Self { uri, name: format!("{PREFIX}{:016x}", rand::random::<u64>()) }
    }

    /// One instance's store on it.
    #[allow(dead_code, reason = "not every test opens it by its owner")]
    pub async fn store(&self) -> MongoStore {
        connect(&self.uri, &self.name, Vault::default()).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (uri, name) = (self.uri.clone(), self.name.clone());
        // A runtime of its own: that of the test may be on its way out.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = Client::with_uri_str(&uri).await.map_err(std::io::Error::other)?;
                client.database(&name).drop().await.map_err(std::io::Error::other)
            })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) && !std::thread::panicking() {
            panic!("the database {} could not be dropped", self.name);
        }
    }
}

/// Runs a test on an empty database.
#[allow(dead_code, reason = "not every test looks at the documents")]
pub fn with_database(test: impl AsyncFnOnce(&Database)) {
    let database = TestDatabase::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be started").block_on(async {
        let client = Client::with_uri_str(&database.uri).await.expect("the URI is valid");
        test(&client.database(&database.name)).await;
    });
}

/// One instance's store on this database.
#[allow(dead_code, reason = "not every test looks at the documents")]
pub async fn instance(database: &Database) -> MongoStore {
    instance_with(database, vault()).await
}

/// The same with these keys for secrets.
#[allow(dead_code, reason = "not every test has keys")]
pub async fn instance_with(database: &Database, vault: Vault) -> MongoStore {
    let uri = std::env::var("KEYLEND_TEST_MONGODB_URI").expect("set, as it was when the tests were built");
    connect(&uri, database.name(), vault).await
}

/// How secrets are kept in this run: encrypted with `KEYLEND_TEST_ENCRYPT`, for what must hold either way.
#[allow(dead_code, reason = "not every test is run both ways")]
pub fn vault() -> Vault {
    match std::env::var_os("KEYLEND_TEST_ENCRYPT") {
        Some(_) => {
            let key = EncryptionKey::new("of-the-tests", [5; 32]).expect("a name");
            Vault::new(vec![key], DigestKey::new([6; 32]))
        }
        None => Vault::default(),
    }
}

/// With `KEYLEND_TEST_MERGES` it picks as on MongoDB, also on a server on which that is slow.
async fn connect(uri: &str, name: &str, vault: Vault) -> MongoStore {
    let connected = MongoStore::connect(&MongoUri::new(uri), Some(name), TIME_LIMIT, vault).await;
    let store = connected.expect("the URI is valid");
    if std::env::var_os("KEYLEND_TEST_MERGES").is_some() { store.taken_to_merge() } else { store }
}
