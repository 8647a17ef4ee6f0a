//! Where the keys of a run are: a folder with the embedded store's file, or a database.

use std::path::PathBuf;

use mongodb::{Client, Collection, Database};
use tempfile::TempDir;

use crate::failure::Failure;

/// The collection or table of the pool `stability`, and that of `plantid`.
pub(crate) const STABILITY: &str = "stability_api_keys";
pub(crate) const PLANTID: &str = "plantid_api_keys";

/// The MongoDB to measure on; None = only the embedded store can be. From the environment and never an argument, for it
/// can hold a password.
pub(crate) fn mongodb_uri() -> Option<String> {
    std::env::var("KEYLEND_TEST_MONGODB_URI").ok().filter(|uri| !uri.is_empty())
}

pub(crate) struct Place {
    /// The working directory of its servers: `keylend.toml`, logs, and the embedded store's file.
    pub(crate) folder: TempDir,
    /// None: the embedded store.
    pub(crate) database: Option<Base>,
}

/// A database on the MongoDB that is measured on.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) client: Client,
    pub(crate) uri: String,
    pub(crate) name: String,
}

impl Base {
    pub(crate) fn keys(&self, collection: &str) -> Collection<bson::Document> {
        self.database().collection(collection)
    }

    pub(crate) fn database(&self) -> Database {
        self.client.database(&self.name)
    }
}

impl Place {
    pub(crate) fn new(database: Option<Base>) -> Result<Self, Failure> {
        Ok(Self { folder: tempfile::tempdir()?, database })
    }

    /// The embedded store's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("keylend.db")
    }

    /// The settings by which keylend finds it.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        match &self.database {
            None => vec![("KEYLEND_DATA", self.file().display().to_string())],
            Some(base) => vec![("MONGODB_URI", base.uri.clone()), ("MONGODB_DATABASE", base.name.clone())],
        }
    }

    /// The keys are not needed any more.
    pub(crate) async fn clear(self) -> Result<(), Failure> {
        if let Some(base) = self.database {
            base.database().drop().await?;
        }
        Ok(())
    }
}
