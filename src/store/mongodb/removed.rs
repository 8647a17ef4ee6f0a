//! Keys that an operator took out of a pool while its key file still has them.

use std::collections::HashSet;

use bson::{Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;

use super::{MongoStore, document, error, expression, filter};
use crate::domain::{KeyId, Policy, Secret};
use crate::store::StoreError;
use crate::store::removed::{name, names, prefix};

/// Before a key goes: keeps the file from bringing it back, where it is the file's. `stays`: the secret that it has
/// afterwards.
pub(super) async fn remember(
    store: &MongoStore,
    pool: &Policy,
    id: KeyId,
    stays: Option<&Secret>,
) -> Result<(), StoreError> {
    let its_id = doc! {"_id": filter::object_id(id), "$expr": expression::is_from_file()};
    let found = store.keys(pool).find_one(its_id).projection(document::projection()).max_time(store.time_limit).await;
    let found = found.and_then(|found| found.map(document::lossy).transpose()).map_err(error::of_read)?;
    // Also where it cannot be opened, what stands for it tells.
    let Some(api_key) = found.as_ref().and_then(|found| found.get_str("api_key").ok()) else { return Ok(()) };
    if stays.is_some_and(|stays| store.vault.texts(pool, stays).iter().any(|text| text == api_key)) {
        return Ok(());
    }
    let meta = store.meta();
    let its_name = doc! {"_id": name(pool, api_key)};
    let set = doc! {"$setOnInsert": {"removed_at": expression::date(store.now().await?)}};
    let remembered =
        error::again_after_conflicts(|| async { meta.update_one(its_name.clone(), set.clone()).upsert(true).await });
    match remembered.await {
        // Another instance was quicker.
        Err(error) if error::is_duplicate(&error) => Ok(()),
        remembered => remembered.map(|_| ()).map_err(error::of_write),
    }
}

/// Which of these the file is kept from bringing: their names.
pub(super) async fn among(
    store: &MongoStore,
    pool: &Policy,
    secrets: impl Iterator<Item = &Secret>,
) -> Result<HashSet<String>, StoreError> {
    let names: Vec<String> = secrets.flat_map(|secret| names(&store.vault, pool, secret)).collect();
    if names.is_empty() {
        return Ok(HashSet::new());
    }
    let these = doc! {"_id": {"$in": names}};
    let found = store.meta().find(these).projection(doc! {"_id": 1}).max_time(store.time_limit).await;
    let found: Vec<RawDocumentBuf> = found.map_err(error::of_read)?.try_collect().await.map_err(error::of_read)?;
    let found = found.into_iter().filter_map(|found| {
        let found: Document = document::lossy(found).ok()?;
        found.get_str("_id").ok().map(str::to_owned)
    });
    Ok(found.collect())
}

/// The pool has these keys again.
pub(super) async fn forget(
    store: &MongoStore,
    pool: &Policy,
    secrets: impl Iterator<Item = &Secret>,
) -> Result<(), StoreError> {
    let meta = store.meta();
    // Most pools have none, and one look tells.
    let prefix = prefix(pool);
    let any = doc! {"_id": {"$gt": &prefix, "$lt": format!("{prefix}~")}};
    let any =
        meta.find_one(any).projection(doc! {"_id": 1}).max_time(store.time_limit).await.map_err(error::of_read)?;
    let names: Vec<String> = secrets.flat_map(|secret| names(&store.vault, pool, secret)).collect();
    if any.is_none() || names.is_empty() {
        return Ok(());
    }
    let these = doc! {"_id": {"$in": names}};
    let forgotten = error::again_after_conflicts(|| async { meta.delete_many(these.clone()).await });
    forgotten.await.map(|_| ()).map_err(error::of_write)
}
