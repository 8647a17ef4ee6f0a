//! A folder with a key file, and instances that follow it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylend::domain::{DisabledReason, KeyRecord, Picks, Policy, Secret};
use keylend::key_files::{Followed, Following, follow};
use keylend::pool::{Pool, Pools};
use keylend::store::{Page, Store};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::place::{Place, TIME_LIMIT};

/// The longest wait for anything: far above what is needed, so that a slow machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with `plantid.txt`, `api_state.json` and whatever a test puts there.
pub struct Folder(TempDir);

impl Folder {
    pub fn with(lines: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(lines);
        folder
    }

    pub fn keys(&self) -> PathBuf {
        self.path("plantid.txt")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the file anew, in its place.
    pub fn write(&self, text: impl AsRef<[u8]>) {
        std::fs::write(self.keys(), text).unwrap();
    }

    pub fn append(&self, text: &str) {
        let mut file: File = OpenOptions::new().append(true).open(self.keys()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn state(&self, text: &str) {
        std::fs::write(self.path("api_state.json"), text).unwrap();
    }
}

/// The pool that these tests bring keys into.
pub fn policy() -> Policy {
    Policy::new("plantid".parse().unwrap(), Picks::InOrder, 100)
}

/// An instance that follows the file of a folder.
pub struct Instance {
    pub store: Arc<dyn Store>,
    pub pools: Pools,
    following: Following,
    stop: CancellationToken,
}

impl Instance {
    /// Starts one, and waits until it has looked once.
    pub async fn start(place: &Place, folder: &Folder) -> Self {
        Self::over(place.store().await, folder).await
    }

    pub async fn over(store: Arc<dyn Store>, folder: &Folder) -> Self {
        let mut instance = Self::starting(store, folder).await;
        instance.following.first_looks(PATIENCE).await;
        instance
    }

    /// Starts one.
    pub async fn starting(store: Arc<dyn Store>, folder: &Folder) -> Self {
        let pools = Pools::new(Arc::clone(&store), [policy()], TIME_LIMIT);
        pools.prepare().await.unwrap();
        let state = Some(folder.path("api_state.json")).filter(|state| state.exists());
        let stop = CancellationToken::new();
        let followed = Followed { pool: pools.get("plantid").unwrap().clone(), path: folder.keys(), state };
        let following = follow([followed], &stop);
        Self { store, pools, following, stop }
    }

    /// Stops it well.
    pub async fn stop(self) {
        self.stop.cancel();
        self.following.ended().await;
    }

    pub fn pool(&self) -> &Pool {
        self.pools.get("plantid").unwrap()
    }

    /// All keys in the pool's order.
    pub async fn records(&self) -> Vec<KeyRecord> {
        all(&*self.store).await
    }

    /// The key of this secret.
    pub async fn record(&self, text: &str) -> KeyRecord {
        self.records().await.into_iter().find(|record| secret(record) == text).unwrap()
    }

    /// The secrets that can be handed out, in the pool's order.
    pub async fn active(&self) -> Vec<String> {
        let records = self.records().await;
        records.iter().filter(|record| record.key.is_active).map(|record| secret(record).to_owned()).collect()
    }

    /// Waits until exactly these can be handed out, in this order.
    pub async fn until_active(&self, expected: &[&str]) {
        until(&format!("{expected:?} are active"), async || self.active().await == expected).await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn all(store: &dyn Store) -> Vec<KeyRecord> {
    store.list(&policy(), Page { after: None, limit: 100_000, state: None }).await.unwrap().value
}

pub fn secret(record: &KeyRecord) -> &str {
    record.key.secret.as_ref().map(Secret::expose).unwrap()
}

/// Whether its line went.
pub fn is_withdrawn(record: &KeyRecord) -> bool {
    !record.key.is_active && record.disabled_reason == Some(DisabledReason::RemovedFromFile)
}

/// Waits until `what` is so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
