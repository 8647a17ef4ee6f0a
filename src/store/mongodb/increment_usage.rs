//! increment_usage: count a use that has happened.

use bson::{Document, bson, doc};

use super::expression::{self, NOW};
use super::{MongoStore, document, error, filter};
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::{KeyRef, Policy};
use crate::store::{Incremented, StoreError};

/// The credits of a fresh key in the older documents: 25, one use each.
const CREDITS: i32 = 25;

pub(super) async fn increment_usage(
    store: &MongoStore,
    pool: &Policy,
    key: &KeyRef,
) -> Result<Incremented, StoreError> {
    let mut countable = filter::key(key);
    let mut rule = vec![
        bson!({"$or": [expression::is_countable(), expression::is_missing("usage_count")]}),
        // A document that no id can name cannot be answered, so it is not counted on either.
        bson!(expression::has_object_id()),
    ];
    rule.extend(countable.remove("$expr"));
    countable.insert("$expr", doc! {"$and": rule});
    let update = vec![doc! {"$set": {
        "usage_count": {"$cond": [expression::is_missing("usage_count"), {"$add": [from_credits(), 1]}, {"$add": ["$usage_count", 1]}]},
        "last_used": NOW,
    }}];
    let fields = doc! {"usage_count": 1, "last_used": 1};
    let counted = store.change(pool, countable, update, None, fields).await.map_err(error::of_write)?;
    let Some(counted) = counted else {
        // Not counted: there is no such key, or its count is no number. Which of the two is only told.
        let known = store.keys(pool).find_one(filter::key(key)).projection(doc! {"_id": 1}).await;
        return Ok(match known.map_err(error::of_read)? {
            Some(_) => Incremented::InvalidKey,
            None => Incremented::UnknownKey,
        });
    };
    let parts = (document::id(&counted), document::instant(counted.get("last_used")));
    let (Some(id), Some(last_used)) = parts else {
        return Ok(Incremented::InvalidKey);
    };
    Ok(Incremented::Counted { id, usage_count: document::usage_count(counted.get("usage_count")), last_used })
}

/// The count that stands for the credits of an older document: a use that was started is a use. 0 where there is
/// no number of credits.
fn from_credits() -> Document {
    let most = MAX_USAGE_COUNT as i64;
    let is_number = doc! {"$in": [{"$type": "$credits_left"}, ["int", "long", "double", "decimal"]]};
    let credits = doc! {"$cond": [is_number, "$credits_left", CREDITS]};
    // The bounds leave out NaN and the infinities, which no integer can stand for.
    let bounded = doc! {"$and": [{"$gte": [&credits, -most]}, {"$lte": [&credits, most]}]};
    doc! {"$cond": [
        bounded,
        {"$toLong": {"$max": [0, {"$ceil": {"$subtract": [CREDITS, credits]}}]}},
        {"$toLong": 0},
    ]}
}
