//! Secrets that more than one document holds: older than keylend, and in the way of the index that keeps them unique.

use std::time::Duration;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;

use super::{MongoStore, document, error, stats};
use crate::domain::Policy;
use crate::store::StoreError;

/// How many of the ids that share a secret are listed.
const IDS: i32 = 10;

/// What was found; never the secrets.
pub(super) struct Duplicates {
    /// How many secrets are held more than once.
    pub(super) total: u64,
    /// The ids that share one of them, for the first.
    pub(super) ids: Vec<Vec<String>>,
}

/// Looks through the whole collection, at most `limit` long, and lists `listed` of what it finds.
pub(super) async fn find(
    store: &MongoStore,
    pool: &Policy,
    listed: u32,
    limit: Duration,
) -> Result<Duplicates, StoreError> {
    let keys = store.keys(pool);
    let found = keys.aggregate(pipeline(listed)).allow_disk_use(true).max_time(limit);
    let found = found.with_type::<RawDocumentBuf>().await.map_err(error::of_read)?;
    let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(error::of_read)?;
    let found = found.into_iter().next().map(document::lossy).transpose().map_err(error::of_read)?;
    let part = |name: &str| {
        let part = found.as_ref().and_then(|found| found.get_array(name).ok()).into_iter().flatten();
        part.filter_map(Bson::as_document)
    };
    let ids = |group: &Document| {
        let ids = group.get_array("ids").map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(Bson::as_document).map(document::described_id).collect()
    };
    Ok(Duplicates {
        total: part("total").map(|total| stats::whole(total, "secrets")).sum(),
        ids: part("first").map(ids).collect(),
    })
}

/// Documents gathered by their secret, of which no more than the ids leave the server. The order makes the answer the
/// same from one time to the next.
fn pipeline(listed: u32) -> Vec<Document> {
    let is_text = doc! {"$and": [{"$eq": [{"$type": "$api_key"}, "string"]}, {"$ne": ["$api_key", ""]}]};
    // For the server, a limit of 0 is an error.
    let first = doc! {"$limit": i64::from(listed.max(1))};
    vec![
        doc! {"$match": {"$expr": is_text}},
        doc! {"$group": {
            "_id": "$api_key",
            "documents": {"$sum": 1},
            "first": {"$min": "$_id"},
            "ids": {"$firstN": {"input": document::id_to_describe(), "n": IDS}},
        }},
        doc! {"$match": {"documents": {"$gt": 1}}},
        doc! {"$facet": {
            "total": [{"$count": "secrets"}],
            "first": [{"$sort": {"first": 1}}, first, {"$project": {"_id": 0, "ids": 1}}],
        }},
    ]
}
