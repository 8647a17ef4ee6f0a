//! look_up: read one key.

use bson::Document;

use super::{MongoStore, document, error, filter};
use crate::domain::{Key, KeyRef, Policy};
use crate::store::{Seen, StoreError};

pub(super) async fn look_up(store: &MongoStore, pool: &Policy, key: &KeyRef) -> Result<Option<Seen<Key>>, StoreError> {
    let found = store
        .keys(pool)
        .find_one(filter::key(&store.vault, pool, key))
        .projection(document::projection())
        .max_time(store.time_limit)
        .await
        .map_err(error::of_read)?;
    Ok(found.and_then(|found| seen(store, pool, &document::lossy(found).ok()?)))
}

/// A document read with [`document::projection`].
pub(super) fn seen(store: &MongoStore, pool: &Policy, found: &Document) -> Option<Seen<Key>> {
    Some(Seen { value: document::key(&store.vault, pool, found)?, now: document::instant(found.get("now"))? })
}
