//! take: pick and count up to as many uses as are left, in one step.

use bson::{doc, oid::ObjectId};

use super::expression::{self, NOW};
use super::{MongoStore, Taken, document, error};
use crate::domain::Policy;
use crate::store::StoreError;

pub(super) async fn take(store: &MongoStore, pool: &Policy, uses: u32) -> Result<Option<Taken>, StoreError> {
    let taken = doc! {"$add": [expression::count(), expression::open()]};
    let left = doc! {"$subtract": [i64::from(pool.uses_per_key), taken]};
    // The mark tells how many uses this step took: the answer shows the document only as it is afterwards.
    // $mergeObjects makes it a value of its own; a plain document would be set into whatever mark there is, and into
    // each element of a list.
    let mark = doc! {"b": ObjectId::new(), "n": {"$min": [i64::from(uses), left]}, "s": expression::remembered()};
    let update = vec![
        doc! {"$set": {"mark": {"$mergeObjects": [mark]}}},
        doc! {"$set": {"usage_count": {"$add": ["$usage_count", "$mark.n"]}, "last_used": NOW}},
    ];
    let fields = doc! {"api_key": 1, "usage_count": 1, "last_used": 1, "mark": 1};
    let taken = store.pick(pool, pool.uses_per_key, doc! {}, update, fields).await.map_err(error::of_write)??;
    taken
        .map(|taken| {
            let (id, secret, usage_count, _) = document::handed_out(&taken, "last_used")?;
            let uses = taken.get_document("mark").ok().and_then(|mark| document::usage_count(mark.get("n")).whole());
            let uses = uses.and_then(|uses| u32::try_from(uses).ok());
            let uses = uses.ok_or_else(|| StoreError::Refused("a take left no mark".into()))?;
            Ok(Taken { id, secret, usage_count, uses })
        })
        .transpose()
}
