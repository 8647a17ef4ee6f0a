//! show: read one key with all that is stored of it, or one of its leases.

use bson::{Bson, Document, doc};

use super::{MongoStore, document, error, expression, filter};
use crate::domain::{KeyId, KeyRecord, LeaseId, OpenLease, Policy};
use crate::store::{Seen, StoreError};

pub(super) async fn show(store: &MongoStore, pool: &Policy, id: KeyId) -> Result<Option<Seen<KeyRecord>>, StoreError> {
    let its_id = doc! {"_id": filter::object_id(id)};
    let found = read(store, pool, its_id, document::record_projection()).await?;
    Ok(found.and_then(|found| seen(store, pool, &found)))
}

/// A document read with [`document::record_projection`].
pub(super) fn seen(store: &MongoStore, pool: &Policy, found: &Document) -> Option<Seen<KeyRecord>> {
    Some(Seen { value: document::record(&store.vault, pool, found)?, now: document::instant(found.get("now"))? })
}

pub(super) async fn find_lease(
    store: &MongoStore,
    pool: &Policy,
    lease: &LeaseId,
) -> Result<Option<OpenLease>, StoreError> {
    let own = doc! {"$eq": ["$$lease.id", {"$literal": lease.entry.to_string()}]};
    let fields = doc! {"leases": {"$map": {
        "input": {"$filter": {"input": expression::leases(), "as": "lease", "cond": own}},
        "as": "lease",
        "in": {"by": document::typed("$$lease.by", "string"), "expires_at": document::typed("$$lease.expires_at", "date")},
    }}};
    let found = read(store, pool, filter::open_lease(lease), fields).await?;
    Ok(found.and_then(|found| {
        let entries = found.get_array("leases").ok()?;
        entries.iter().filter(|entry| matches!(entry, Bson::Document(_))).map(document::open_lease).next()
    }))
}

async fn read(
    store: &MongoStore,
    pool: &Policy,
    filter: Document,
    fields: Document,
) -> Result<Option<Document>, StoreError> {
    let found = store.keys(pool).find_one(filter).projection(fields).max_time(store.time_limit).await;
    found.and_then(|found| found.map(document::lossy).transpose()).map_err(error::of_read)
}
