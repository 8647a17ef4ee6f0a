//! increment_usage: count a use that has happened.

use bson::{bson, doc};

use super::expression::{self, NOW};
use super::{MongoStore, document, error, filter};
use crate::domain::{KeyRef, Policy};
use crate::store::{Incremented, StoreError};

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
    let mut set = expression::counted(1);
    set.insert("last_used", NOW);
    let update = vec![doc! {"$set": set}];
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
