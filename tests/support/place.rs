//! A store of its own for one test: a file in a folder, or a database, gone when the test ends.

use std::sync::Arc;

use keylend::store::Store;
use keylend::store::sqlite::SqliteStore;
use keylend::store::vault::Vault;
use tempfile::TempDir;

#[path = "database.rs"]
mod database;

pub use database::{TIME_LIMIT, TestDatabase};

/// Where a test's keys are.
pub enum Place {
    /// An embedded store's folder.
    Folder(TempDir),
    /// A database on the MongoDB of `KEYLEND_TEST_MONGODB_URI`.
    Database(TestDatabase),
}

impl Place {
    /// An embedded store.
    pub fn sqlite() -> Self {
        Self::Folder(tempfile::tempdir().expect("a folder can be made"))
    }

    /// A database on MongoDB.
    pub fn mongodb() -> Self {
        Self::Database(TestDatabase::new())
    }

    /// The store there. Several can be opened at the same place, as several instances do.
    pub async fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Folder(folder) => {
                let path = folder.path().join("keylend.db");
                Arc::new(SqliteStore::open(&path, TIME_LIMIT, Vault::default()).await.expect("the file can be opened"))
            }
            Self::Database(database) => Arc::new(database.store().await),
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
