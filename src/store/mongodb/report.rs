//! report: end a lease with its effect on the key, in one step.

use bson::{Document, bson, doc};

use super::{MongoStore, document, error, expression, filter, settle};
use crate::domain::report::Effect;
use crate::domain::state::state;
use crate::domain::{LeaseId, Policy, Report};
use crate::store::{Settled, StoreError};

pub(super) async fn report(
    store: &MongoStore,
    pool: &Policy,
    lease: &LeaseId,
    report: Report,
) -> Result<Option<Settled>, StoreError> {
    let mut set = effect(report.effect(pool));
    set.insert("leases", settle::without(lease.entry));
    let update = vec![doc! {"$set": set}];
    let settled = store
        .change(pool, filter::open_lease(lease), update, None, document::projection())
        .await
        .map_err(error::of_write)?;
    Ok(settled.and_then(|settled| {
        let now = document::instant(settled.get("now"))?;
        let key = document::key(&settled)?;
        Some(Settled { id: key.id, usage_count: key.usage_count, state: state(&key, pool.uses_per_key, now) })
    }))
}

/// The fields that an effect sets.
fn effect(effect: Effect) -> Document {
    match effect {
        Effect::Nothing => doc! {},
        Effect::Count => expression::counted(1),
        Effect::Rest(rest) => doc! {"resting_until": expression::rest_for(rest)},
        // Only a key that was active gets the reason: an operator's own is kept.
        Effect::Disable(reason) => {
            let was_active = bson!({"$eq": ["$is_active", true]});
            doc! {
                "is_active": {"$cond": [&was_active, false, "$is_active"]},
                "disabled_reason": {"$cond": [was_active, reason.as_str(), "$disabled_reason"]},
            }
        }
    }
}
