//! judge: what a provider said of a key, in one step; the rule of `domain::Verdict`.

use bson::{Bson, Document, doc};

use super::expression::{self, NOW};
use super::{MongoStore, document, error, filter, show};
use crate::domain::{Judgement, KeyId, KeyRecord, KeyRef, Policy, Secret, Verdict};
use crate::store::{Seen, StoreError};

pub(super) async fn judge(
    store: &MongoStore,
    pool: &Policy,
    id: KeyId,
    secret: &Secret,
    verdict: Verdict,
) -> Result<Option<Seen<KeyRecord>>, StoreError> {
    // What was asked about is the secret: a key that has another one by now is not meant.
    let mut that_key = filter::key(&store.vault, pool, &KeyRef::Secret(secret.clone()));
    that_key.insert("_id", filter::object_id(id));
    let update = vec![doc! {"$set": fields(pool, verdict)}];
    let judged = store.change(pool, that_key, update, None, document::record_projection()).await;
    judged.map_err(error::of_write)?.map_or(Ok(None), |judged| {
        let lost = || StoreError::Unresolved("a judged document could not be read".into());
        show::seen(store, pool, &judged).ok_or_else(lost).map(Some)
    })
}

/// The fields that a verdict sets, all judged by the document as it was before.
fn fields(pool: &Policy, verdict: Verdict) -> Document {
    let is_active = doc! {"$eq": ["$is_active", true]};
    let mut fields = match verdict.judgement(pool) {
        Judgement::Enable(reasons) => {
            let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
            let by_report = doc! {"$and": [{"$not": [&is_active]}, {"$in": ["$disabled_reason", reasons]}]};
            doc! {
                "is_active": {"$cond": [&by_report, true, "$is_active"]},
                "disabled_reason": {"$cond": [by_report, "$$REMOVE", "$disabled_reason"]},
            }
        }
        Judgement::Disable(reason) => doc! {
            "is_active": {"$cond": [&is_active, false, "$is_active"]},
            "disabled_reason": {"$cond": [&is_active, reason.as_str(), "$disabled_reason"]},
        },
        Judgement::Rest(rest) => doc! {"resting_until": expression::rest_for(rest)},
    };
    let mut verified = doc! {"at": NOW, "verdict": verdict.as_str()};
    if let Some(credits) = verdict.credits() {
        verified.insert("credits", Bson::Double(credits));
    }
    // The credits of an earlier answer stay where this one names none.
    let before = doc! {"$cond": [{"$eq": [{"$type": "$verified"}, "object"]}, "$verified", {}]};
    fields.insert("verified", doc! {"$mergeObjects": [before, verified]});
    fields
}
