//! renew: let a lease last longer.

use std::time::Duration;

use bson::{Bson, doc};

use super::expression::NOW;
use super::{MongoStore, document, error, filter, settle};
use crate::domain::timestamp::millis;
use crate::domain::{LeaseId, Policy, Timestamp};
use crate::store::StoreError;

pub(super) async fn renew(
    store: &MongoStore,
    pool: &Policy,
    lease: &LeaseId,
    ttl: Duration,
) -> Result<Option<Timestamp>, StoreError> {
    let entry = lease.entry.to_string();
    let later = doc! {"expires_at": {"$max": ["$$lease.expires_at", {"$add": [NOW, millis(ttl)]}]}};
    let update = settle::change_entry("id", &entry, later);
    let renewed = store
        .change(pool, filter::open_lease(lease), update, None, doc! {"leases": 1})
        .await
        .map_err(error::of_write)?;
    Ok(renewed.and_then(|renewed| {
        let leases = renewed.get_array("leases").ok()?;
        let own = leases.iter().filter_map(Bson::as_document).find(|lease| lease.get_str("id").ok() == Some(&entry))?;
        document::instant(own.get("expires_at"))
    }))
}
