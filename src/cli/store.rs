//! The store of the settings, opened and prepared for a command.

use std::sync::Arc;

use super::Failure;
use crate::config::{Settings, StoreSettings};
use crate::pool::Pools;
use crate::store::mongodb::MongoStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// The pools over the store, not prepared yet: a MongoDB that is away is found out when it is asked.
pub(super) async fn pools(settings: &Settings) -> Result<Pools, Failure> {
    let limit = settings.store_timeout;
    let store: Arc<dyn Store> = match &settings.store {
        StoreSettings::MongoDb { uri, database } => {
            Arc::new(MongoStore::connect(uri, database.as_deref(), limit).await.map_err(failed)?)
        }
        // A write waits a little less for other processes than its caller waits for it, to tell the reason.
        StoreSettings::Sqlite { path } => Arc::new(SqliteStore::open(path, limit.mul_f64(0.9)).await.map_err(failed)?),
    };
    Ok(Pools::new(store, settings.pools.clone(), limit))
}

/// The same, prepared.
pub(super) async fn prepared(settings: &Settings) -> Result<Pools, Failure> {
    let pools = pools(settings).await?;
    for notice in pools.prepare().await? {
        super::output::complain(&notice);
    }
    Ok(pools)
}

fn failed(error: StoreError) -> Failure {
    Failure::Failed(error.chain())
}
