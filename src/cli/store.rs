//! The store of the settings, opened and prepared for a command.

use std::sync::Arc;

use super::Failure;
use crate::config::{Settings, StoreSettings};
use crate::pool::{Pools, Serving};
use crate::store::mongodb::MongoStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{DatabaseFound, Store, StoreError};

/// The collection of the old programs, by which a database of theirs is known.
const THEIRS: &str = "stability_api_keys";

/// The pools over the store, not prepared yet: a MongoDB that is away is found out when it is asked.
///
/// # Errors
/// Where the settings name no store that can be opened.
pub async fn pools(settings: &Settings) -> Result<Pools, StoreError> {
    let limit = settings.store_timeout;
    let store: Arc<dyn Store> = match &settings.store {
        StoreSettings::MongoDb { uri, database } => {
            Arc::new(MongoStore::connect(uri, database.as_deref(), limit, settings.vault.clone()).await?)
        }
        // A write waits a little less for other processes than its caller waits for it, to tell the reason.
        StoreSettings::Sqlite { path } => {
            Arc::new(SqliteStore::open(path, limit.mul_f64(0.9), settings.vault.clone()).await?)
        }
    };
    let serving = Serving { time_limit: limit, combine: settings.combine };
    Ok(Pools::new(store, settings.pools.clone(), serving))
}

/// The same, prepared.
pub async fn prepared(settings: &Settings) -> Result<Pools, Failure> {
    let pools = pools(settings).await?;
    for notice in pools.prepare().await? {
        super::output::complain(&notice);
    }
    Ok(pools)
}

/// What to say where the database in use has no keys of the old programs and another one has, and the name of the first
/// that has; None otherwise.
pub(super) fn elsewhere(databases: &[DatabaseFound]) -> Option<(String, String)> {
    let holds =
        |database: &&DatabaseFound| database.collections.iter().any(|(name, count)| name == THEIRS && *count > 0);
    if databases.iter().filter(|database| database.in_use).any(|database| holds(&database)) {
        return None;
    }
    let others: Vec<&str> = databases.iter().filter(holds).map(|database| database.name.as_str()).collect();
    let other = others.first()?;
    let text = format!(
        "{THEIRS} is empty here, and has documents in database {}: set MONGODB_DATABASE={other} to lend those",
        others.join(", ")
    );
    Some((text, (*other).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_another_database_are_named_with_the_setting() {
        let database = |name: &str, in_use, collection: &str, count| DatabaseFound {
            name: name.to_owned(),
            in_use,
            collections: vec![(collection.to_owned(), count)],
        };
        let ours = |collection, count| database("ours", true, collection, count);
        let theirs = |count| database("theirs", false, THEIRS, count);
        for (found, told) in [
            (vec![ours("other", 1), theirs(1)], true),
            (vec![ours(THEIRS, 0), theirs(1)], true),
            (vec![theirs(1)], true),
            (vec![ours(THEIRS, 1), theirs(1)], false),
            (vec![ours("other", 1), theirs(0)], false),
            (vec![], false),
        ] {
            let text = elsewhere(&found);
            assert_eq!(text.is_some(), told, "{found:?}");
            assert!(text.is_none_or(|(text, name)| text.contains("MONGODB_DATABASE=theirs") && name == "theirs"));
        }
    }
}
