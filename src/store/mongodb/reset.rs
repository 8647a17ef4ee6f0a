//! reset: counts start from 0 again, many in one command.

use bson::{Bson, RawDocumentBuf, doc};
use futures_util::TryStreamExt;

use super::{MongoStore, credits, document, error, expression, filter};
use crate::domain::{KeyId, Policy};
use crate::store::StoreError;

/// How many keys are reset in one command.
const AT_ONCE: usize = 1000;

pub(super) async fn reset(store: &MongoStore, pool: &Policy, ids: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
    let keys = store.keys(pool);
    let mut reset = Vec::new();
    for ids in ids.chunks(AT_ONCE) {
        let ids: Vec<Bson> = ids.iter().map(|id| filter::object_id(*id).into()).collect();
        // Those that are there are looked for first: what is answered was surely there to be reset.
        let found = keys.find(doc! {"_id": {"$in": ids}}).projection(doc! {"_id": 1}).max_time(store.time_limit).await;
        let found: Vec<RawDocumentBuf> = found.map_err(error::of_read)?.try_collect().await.map_err(error::of_read)?;
        let found: Vec<KeyId> = found.into_iter().filter_map(|key| document::id(&document::lossy(key).ok()?)).collect();
        let ids: Vec<Bson> = found.iter().map(|id| filter::object_id(*id).into()).collect();
        let fresh = vec![doc! {"$set": {
            "usage_count": 0_i64,
            "last_used": expression::date(store.now().await?),
            "legacy": credits::legacy_once_set(),
        }}];
        let them = doc! {"_id": {"$in": ids}};
        error::again_after_conflicts(|| async { keys.update_many(them.clone(), fresh.clone()).await })
            .await
            .map_err(error::of_write)?;
        reset.extend(found);
    }
    Ok(reset)
}
