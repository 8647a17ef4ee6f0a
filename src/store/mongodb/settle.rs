//! How a lease ends: its entry is taken out of the key's document, once.

use bson::{Document, doc};

use super::{LeaseRequest, MongoStore, error, expression, filter};
use crate::domain::{EntryId, Policy};
use crate::store::StoreError;

/// The leases of a document without this one.
pub(super) fn without(entry: EntryId) -> Document {
    doc! {"$filter": {
        "input": expression::leases(),
        "as": "lease",
        "cond": {"$ne": ["$$lease.id", {"$literal": entry.to_string()}]},
    }}
}

/// The update that sets `fields` in the entry whose `field` has this value.
pub(super) fn change_entry(field: &str, value: &str, fields: Document) -> Vec<Document> {
    vec![doc! {"$set": {"leases": {"$map": {
        "input": expression::leases(),
        "as": "lease",
        "in": {"$cond": [
            {"$eq": [format!("$$lease.{field}"), {"$literal": value}]},
            {"$mergeObjects": ["$$lease", fields]},
            "$$lease",
        ]},
    }}}}]
}

/// Ends a lease that could not be answered, as unused. False = it is not there, or a repeat of its request was
/// answered with it.
pub(super) async fn give_back(store: &MongoStore, pool: &Policy, request: &LeaseRequest) -> Result<bool, StoreError> {
    let entry = request.entry.to_string();
    let mut its_key = filter::live_entry("id", &entry);
    // Found by its index.
    its_key.insert("leases.idem", request.idem.as_str());
    its_key.insert("leases", doc! {"$elemMatch": {"id": &entry, "repeated": {"$ne": true}}});
    let update = vec![doc! {"$set": {"leases": without(request.entry)}}];
    let given_back = store.change(pool, its_key, update, None, doc! {"_id": 1}).await.map_err(error::of_write)?;
    Ok(given_back.is_some())
}
