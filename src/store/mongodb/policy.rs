//! record_policy: the policy that instances lend by, kept where all of them see it.

use bson::{Document, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;

use super::{META, MongoStore, document, error};
use crate::domain::Policy;
use crate::store::StoreError;
use crate::store::recorded::Recorded;

pub(super) async fn record(store: &MongoStore, pool: &Policy) -> Result<Option<String>, StoreError> {
    let meta = store.database.collection::<RawDocumentBuf>(META);
    let own = Recorded::of(pool);
    let name = doc! {"_id": Recorded::name(pool)};
    let policy = bson::serialize_to_bson(&own).map_err(|error| StoreError::Refused(Box::new(error)))?;
    let set = doc! {"$set": {"policy": policy}};
    let record = || async {
        meta.find_one_and_update(name.clone(), set.clone())
            .upsert(true)
            .return_document(ReturnDocument::Before)
            .max_time(store.time_limit)
            .await
    };
    let before = match error::again_after_conflicts(record).await {
        // Another instance made it at the same moment.
        Err(error) if error::is_duplicate(&error) => error::again_after_conflicts(record).await,
        recorded => recorded,
    };
    let before = before.and_then(|before| before.map(document::lossy).transpose()).map_err(error::of_write)?;
    Ok(before.as_ref().and_then(recorded).and_then(|before| own.differs(pool, &before)))
}

/// The policy in a document; None for anything that keylend did not write.
fn recorded(document: &Document) -> Option<Recorded> {
    bson::deserialize_from_bson(document.get("policy")?.clone()).ok()
}
