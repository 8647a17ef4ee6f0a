//! The second afternoon: candidates are read by equality, as the index serves them, and a random one of them is updated
//! if it is still as it was read.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::Collection;
use rand::seq::IndexedRandom;

use super::Found;

/// How many candidates are read.
const CANDIDATES: i64 = 100;

/// How often a request tries that always finds somebody else to be faster.
const TRIES: u32 = 1000;

pub(super) async fn pick(keys: &Collection<Document>, uses_per_key: u32, count: u32) -> Found {
    for _ in 0..TRIES {
        let Some(candidate) = candidates(keys, uses_per_key).await?.choose(&mut rand::rng()).cloned() else {
            return Ok(None);
        };
        let field = |name| candidate.get(name).cloned().unwrap_or(Bson::Null);
        let as_read = doc! {
            "_id": field("_id"),
            "is_active": true,
            "usage_count": field("usage_count"),
            "last_used": field("last_used"),
        };
        let mut update = doc! {"$currentDate": {"last_used": true}};
        if count > 0 {
            update.insert("$inc", doc! {"usage_count": count});
        }
        if keys.update_one(as_read, update).await?.modified_count == 1 {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// The first of those that have been used least.
async fn candidates(keys: &Collection<Document>, uses_per_key: u32) -> Result<Vec<Document>, mongodb::error::Error> {
    for count in 0..uses_per_key {
        let equal = doc! {"is_active": true, "usage_count": count};
        let found = keys.find(equal).sort(doc! {"last_used": 1}).limit(CANDIDATES).await?;
        let found: Vec<Document> = found.try_collect().await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}
