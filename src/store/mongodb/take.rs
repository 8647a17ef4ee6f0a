//! take: pick and count up to as many uses as are left, in one step.

use bson::{Document, doc, oid::ObjectId};

use super::expression::{self, NOW};
use super::{MongoStore, Taken, document, error, keep, lease};
use crate::domain::Policy;
use crate::store::StoreError;

pub(super) async fn take(store: &MongoStore, pool: &Policy, uses: u32) -> Result<Option<Taken>, StoreError> {
    let taken = doc! {"$add": [expression::count(), expression::open()]};
    let left = doc! {"$subtract": [i64::from(pool.uses_per_key), taken]};
    // The mark tells how many uses this step took: the answer shows the document only as it is afterwards.
    // $mergeObjects makes it a value of its own; a plain document would be set into whatever mark there is, and into
    // each element of a list.
    let step = ObjectId::new();
    let mark = doc! {"b": step, "n": {"$min": [i64::from(uses), left]}, "s": expression::remembered()};
    let update = vec![
        doc! {"$set": {"mark": {"$mergeObjects": [mark]}}},
        doc! {"$set": {"usage_count": {"$add": ["$usage_count", "$mark.n"]}, "last_used": NOW}},
    ];
    let mut fields = document::secret_fields();
    fields.extend(doc! {"usage_count": 1, "last_used": 1, "mark": 1});
    loop {
        let taken = store.pick(pool, pool.uses_per_key, doc! {}, update.clone(), fields.clone()).await;
        let Some(taken) = taken.map_err(error::of_write)?? else { return Ok(None) };
        let uses = taken.get_document("mark").ok().and_then(|mark| document::usage_count(mark.get("n")).whole());
        let uses = uses.and_then(|uses| u32::try_from(uses).ok());
        let uses = uses.ok_or_else(|| StoreError::Refused("a take left no mark".into()))?;
        // What was counted is, whatever became of taking it back.
        let opened = keep::opened(store, pool, &taken, untaken(step, uses)).await.map_err(lease::something_leased)?;
        if let Some(secret) = opened {
            let (id, usage_count, _) = document::handed_out(&taken, "last_used")?;
            return Ok(Some(Taken { id, secret, usage_count, uses }));
        }
    }
}

/// What takes these uses back, as long as no other step has counted since.
fn untaken(step: ObjectId, uses: u32) -> Document {
    let is_last = doc! {"$and": [{"$eq": ["$mark.b", step]}, expression::is_countable()]};
    let before = doc! {"$max": [0_i64, {"$subtract": ["$usage_count", i64::from(uses)]}]};
    doc! {"usage_count": {"$cond": [is_last, before, "$usage_count"]}}
}
