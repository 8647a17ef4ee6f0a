//! change: what an operator sets of a key, in one step; the rule of `domain::KeyChange`.

use bson::{Bson, Document, bson, doc};

use super::expression::{self, NOW};
use super::{Changed, MongoStore, credits, document, error, filter, index, keep, removed, show};
use crate::domain::timestamp::millis;
use crate::domain::{DisabledReason, KeyChange, KeyId, Policy, Rest};
use crate::store::StoreError;

/// What stands for a field that is taken away.
const NOTHING: &str = "$$REMOVE";

pub(super) async fn change(
    store: &MongoStore,
    pool: &Policy,
    id: KeyId,
    change: &KeyChange,
) -> Result<Changed, StoreError> {
    if change.is_empty() {
        let seen = show::show(store, pool, id).await?;
        return Ok(seen.map_or(Changed::UnknownKey, |seen| Changed::Changed(Box::new(seen))));
    }
    if let Some(secret) = &change.secret
        && (store.vault.has_two_texts() || !index::keeps_secrets_unique(store, pool).await?)
        && keep::has_twin(store, pool, id, secret).await?
    {
        return Ok(Changed::KnownSecret);
    }
    if let Some(secret) = &change.secret {
        removed::remember(store, pool, id, Some(secret)).await?;
    }
    let its_id = doc! {"_id": filter::object_id(id)};
    let update = vec![doc! {"$set": fields(store, pool, id, change)}];
    match store.change(pool, its_id, update, None, document::record_projection()).await {
        Ok(None) => Ok(Changed::UnknownKey),
        Ok(Some(changed)) => {
            let lost = || StoreError::Unresolved("a changed document could not be read".into());
            Ok(Changed::Changed(Box::new(show::seen(store, pool, &changed).ok_or_else(lost)?)))
        }
        Err(error) if change.secret.is_some() && error::is_duplicate(&error) => Ok(Changed::KnownSecret),
        Err(error) => Err(error::of_write(error)),
    }
}

/// The fields that a change sets, all judged by the document as it was before.
fn fields(store: &MongoStore, pool: &Policy, id: KeyId, change: &KeyChange) -> Document {
    let mut fields = given(change);
    if let Some(secret) = &change.secret {
        let texts = doc! {"$literal": store.vault.texts(pool, secret)};
        // A symbol is no secret, and equal to the text all the same.
        let is_other =
            doc! {"$or": [{"$ne": [{"$type": "$api_key"}, "string"]}, {"$not": [{"$in": ["$api_key", texts]}]}]};
        fields.extend(document::kept(&store.vault.keep(pool, id, secret)));
        for (field, fresh) in afresh(change) {
            let otherwise = fields.remove(&field).unwrap_or_else(|| bson!(format!("${field}")));
            fields.insert(field, doc! {"$cond": [&is_other, fresh, otherwise]});
        }
    }
    fields
}

/// The fields of a key that keeps its secret.
fn given(change: &KeyChange) -> Document {
    let mut fields = switch(change);
    if let Some(count) = change.count() {
        fields.insert("usage_count", count as i64);
        fields.insert("legacy", credits::legacy_once_set());
    }
    match change.rest {
        None => {}
        Some(Rest::End) => _ = fields.insert("resting_until", NOTHING),
        Some(Rest::For(rest)) => _ = fields.insert("resting_until", expression::rest_for(rest)),
    }
    match &change.note {
        None => {}
        Some(None) => _ = fields.insert("note", NOTHING),
        Some(Some(note)) => _ = fields.insert("note", doc! {"$literal": note}),
    }
    fields
}

/// The fields of a key that gets another secret.
fn afresh(change: &KeyChange) -> Document {
    let rest = match change.rest {
        Some(Rest::For(rest)) => bson!({"$add": [NOW, millis(rest)]}),
        Some(Rest::End) | None => bson!(NOTHING),
    };
    let mut fields = doc! {
        "usage_count": change.count().unwrap_or(0) as i64,
        "resting_until": rest,
        "leases": NOTHING,
        "legacy": credits::legacy_once_set(),
    };
    fields.extend(switch(change));
    fields.insert("from_file", NOTHING);
    fields.insert("verified", NOTHING);
    if change.is_active.is_none() {
        let reasons = DisabledReason::ALL.into_iter().filter(|reason| reason.is_of_report());
        let reasons: Vec<Bson> = reasons.map(|reason| reason.as_str().into()).collect();
        let by_report = doc! {"$in": ["$disabled_reason", reasons]};
        fields.insert("is_active", doc! {"$cond": [&by_report, true, "$is_active"]});
        fields.insert("disabled_reason", doc! {"$cond": [by_report, NOTHING, "$disabled_reason"]});
    }
    fields
}

fn switch(change: &KeyChange) -> Document {
    match change.is_active {
        None => doc! {},
        Some(true) => doc! {
            "is_active": true,
            "disabled_reason": NOTHING,
            "from_file": {"$cond": [expression::is_withdrawn(), NOTHING, "$from_file"]},
        },
        Some(false) => doc! {"is_active": false, "disabled_reason": DisabledReason::Operator.as_str()},
    }
}
