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

/// Ends a lease that could not be answered, as unused. False = it is not there.
pub(super) async fn give_back(store: &MongoStore, pool: &Policy, request: &LeaseRequest) -> Result<bool, StoreError> {
    let mut its_key = doc! {"leases.idem": request.idem.as_str()};
    its_key.extend(filter::live_entry(request.entry));
    let update = vec![doc! {"$set": {"leases": without(request.entry)}}];
    let given_back = store.change(pool, its_key, update, None, doc! {"_id": 1}).await.map_err(error::of_write)?;
    Ok(given_back.is_some())
}
