//! An embedded store that is kept from one input to the next, as opening one takes long.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keylend::domain::{KeyRecord, Policy};
use keylend::pool::{Pool, Pools};
use keylend::store::Page;
use keylend::store::Store;
use keylend::store::sqlite::SqliteStore;
use keylend::store::vault::Vault;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longer than any step takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store, and its pool `stability`.
pub(super) struct Embedded {
    pub(super) runtime: Runtime,
    pub(super) store: Arc<SqliteStore>,
    pub(super) policy: Policy,
    pools: Pools,
    folder: TempDir,
}

/// A place for one store.
pub(super) struct Kept(Mutex<Option<Embedded>>);

impl Kept {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Does something with the store, which is made where there is none. It has to leave the pool empty.
    pub(super) fn with(&self, act: impl FnOnce(&mut Embedded)) {
        // Where another input failed, what it left is not looked at.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut embedded = kept.take().unwrap_or_else(Embedded::new);
        act(&mut embedded);
        *kept = Some(embedded);
    }
}

impl Embedded {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let [policy, ..] = Policy::built_in();
        let (store, pools) = runtime.block_on(async {
            let store = SqliteStore::open(&folder.path().join("keylend.db"), PATIENCE, Vault::default())
                .await
                .expect("it can be opened");
            let store = Arc::new(store);
            let pools = Pools::new(Arc::clone(&store) as Arc<dyn Store>, [policy.clone()], PATIENCE);
            pools.prepare().await.expect("a new file can be prepared");
            (store, pools)
        });
        Self { runtime, store, policy, pools, folder }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("keylend.db")
    }

    pub(super) fn pool(&self) -> &Pool {
        self.pools.get(self.policy.name.as_str()).expect("it is built in")
    }

    /// All keys of the pool.
    pub(super) async fn list(&self) -> Vec<KeyRecord> {
        let all = Page { after: None, limit: u32::MAX, state: None };
        self.store.list(&self.policy, all).await.expect("it is listed").value
    }
}
