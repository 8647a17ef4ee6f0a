//! A store of its own for one test: a file in a folder, or a database, gone when the test ends.

use std::sync::Arc;
use std::time::Duration;

use keylend::store::Store;
use keylend::store::mongodb::{MongoStore, MongoUri};
use keylend::store::sqlite::SqliteStore;
use tempfile::TempDir;

/// The longest wait for a store in a test: far above what is needed, so that a slow machine fails no test.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Where a test's keys are.
pub enum Place {
    /// An embedded store's folder.
    Folder(TempDir),
    /// A database on the MongoDB of `KEYLEND_TEST_MONGODB_URI`.
    Database(Database),
}

impl Place {
    /// An embedded store.
    pub fn sqlite() -> Self {
        Self::Folder(tempfile::tempdir().expect("a folder can be made"))
    }

    /// A database on MongoDB.
    pub fn mongodb() -> Self {
        Self::Database(Database::new())
    }

    /// The store there. Several can be opened at the same place, as several instances do.
    pub async fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Folder(folder) => {
                let path = folder.path().join("keylend.db");
                Arc::new(SqliteStore::open(&path, TIME_LIMIT).await.expect("the file can be opened"))
            }
            Self::Database(database) => {
                let uri = MongoUri::new(&database.uri);
                let store = MongoStore::connect(&uri, Some(&database.name), TIME_LIMIT).await;
                Arc::new(store.expect("the URI is valid"))
            }
        }
    }

    /// The settings by which the program finds it.
    #[allow(dead_code, reason = "not every test starts the program")]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Folder(folder) => vec![("KEYLEND_DATA", folder.path().join("keylend.db").display().to_string())],
            Self::Database(database) => {
                vec![("MONGODB_URI", database.uri.clone()), ("MONGODB_DATABASE", database.name.clone())]
            }
        }
    }
}

/// A database of one test; only databases named `keylend_test_*` are ever made or dropped.
pub struct Database {
    /// The server.
    pub uri: String,
    /// The database.
    pub name: String,
}

impl Database {
    fn new() -> Self {
        let uri = std::env::var("KEYLEND_TEST_MONGODB_URI").expect("tests/run sets KEYLEND_TEST_MONGODB_URI");
        Self { uri, name: format!("keylend_test_{:016x}", rand::random::<u64>()) }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (uri, name) = (self.uri.clone(), self.name.clone());
        // A runtime of its own: that of the test may be on its way out.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = mongodb::Client::with_uri_str(&uri).await.map_err(std::io::Error::other)?;
                client.database(&name).drop().await.map_err(std::io::Error::other)
            })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) && !std::thread::panicking() {
            panic!("the database {} could not be dropped", self.name);
        }
    }
}

/// Makes of each async test function `fn name(place: Place)` one test on each store: `sqlite::name`, and
/// `mongodb::name`, which is ignored without a MongoDB.
#[macro_export]
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                $crate::run(super::$name($crate::place::Place::sqlite()));
            })+
        }

        mod mongodb {
            $(#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
            #[test]
            fn $name() {
                $crate::run(super::$name($crate::place::Place::mongodb()));
            })+
        }
    };
}

/// Runs an async test.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}
