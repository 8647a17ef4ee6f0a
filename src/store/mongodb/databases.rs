//! The databases beside the one in use: keys can be in another one than the settings name.

use std::time::Duration;

use bson::{RawDocumentBuf, doc};
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::Database;
use mongodb::error::ErrorKind;

use super::{MongoStore, error};
use crate::domain::Policy;
use crate::store::{DatabaseFound, StoreError};

/// The server's own databases.
const OF_THE_SERVER: [&str; 3] = ["admin", "config", "local"];

/// Of this many databases at most is told what they hold, and of this many collections of each.
const DATABASES: usize = 200;
const COLLECTIONS: usize = 200;

/// How many databases are asked at the same time.
const AT_ONCE: usize = 8;

/// The collection that programs without keylend's settings share; the longest that a start looks for it elsewhere.
const SHARED: &str = "stability_api_keys";
const LOOKING: Duration = Duration::from_secs(2);

pub(super) async fn databases(store: &MongoStore) -> Result<Vec<DatabaseFound>, StoreError> {
    let in_use = store.database.name();
    let mut names = others(store).await?;
    names.insert(0, in_use.to_owned());
    let found = names.into_iter().map(|name| async {
        let collections = collections(&store.client.database(&name)).await?;
        Ok(DatabaseFound { in_use: name == in_use, name, collections })
    });
    stream::iter(found).buffered(AT_ONCE).try_collect().await
}

/// The names of the other databases that can be seen, in order; none where the server tells them to nobody like us.
async fn others(store: &MongoStore) -> Result<Vec<String>, StoreError> {
    let mut names = unless_refused(store.client.list_database_names().await)?.unwrap_or_default();
    names.retain(|name| name != store.database.name() && !OF_THE_SERVER.contains(&name.as_str()));
    names.sort();
    names.truncate(DATABASES);
    Ok(names)
}

/// The collections of a database, with about how many documents each holds; none where it may not be asked.
async fn collections(database: &Database) -> Result<Vec<(String, u64)>, StoreError> {
    let no_views = doc! {"type": "collection"};
    let mut names = unless_refused(database.list_collection_names().filter(no_views).await)?.unwrap_or_default();
    names.retain(|name| !name.starts_with("system."));
    names.sort();
    names.truncate(COLLECTIONS);
    let mut collections = Vec::new();
    for name in names {
        let count = database.collection::<RawDocumentBuf>(&name).estimated_document_count().await;
        if let Some(count) = unless_refused(count)? {
            collections.push((name, count));
        }
    }
    Ok(collections)
}

/// Where the pool's collection is empty here and another database has it with documents: says so, and what to set.
/// Only of the collection that older programs share, for which a database may have been named nowhere. Nothing that
/// goes wrong here keeps anybody from starting.
pub(super) async fn elsewhere(store: &MongoStore, pool: &Policy) -> Option<String> {
    if pool.collection != SHARED || has_documents(&store.database, SHARED).await {
        return None;
    }
    let found = other_with(store, SHARED).await?;
    let here = store.database.name();
    Some(format!("database {here} has no {SHARED}, but database {found} has: set MONGODB_DATABASE={found}"))
}

/// The first of the other databases in which this collection has documents; None where none is found soon enough.
pub(super) async fn other_with(store: &MongoStore, collection: &str) -> Option<String> {
    let looking = async {
        let names = others(store).await.ok()?;
        let having = stream::iter(names)
            .map(|name| async {
                let has = has_documents(&store.client.database(&name), collection).await;
                has.then_some(name)
            })
            .buffered(AT_ONCE)
            .filter_map(std::future::ready);
        std::pin::pin!(having).next().await
    };
    tokio::time::timeout(LOOKING, looking).await.ok().flatten()
}

async fn has_documents(database: &Database, collection: &str) -> bool {
    let keys = database.collection::<RawDocumentBuf>(collection);
    matches!(keys.find_one(doc! {}).projection(doc! {"_id": 1}).max_time(LOOKING).await, Ok(Some(_)))
}

/// An answer; None where the server answered that it will not tell.
fn unless_refused<T>(answer: mongodb::error::Result<T>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(*error.kind, ErrorKind::Command(_)) => Ok(None),
        Err(error) => Err(error::of_read(error)),
    }
}
