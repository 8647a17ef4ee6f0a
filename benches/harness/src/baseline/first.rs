//! The first afternoon: each request is one sorted find-and-modify, and all of them want the same key.

use std::sync::Mutex;

use bson::oid::ObjectId;
use bson::{Document, doc};
use mongodb::Collection;
use mongodb::options::ReturnDocument;

use super::Found;

pub(super) async fn pick(keys: &Collection<Document>, uses_per_key: u32, count: u32) -> Found {
    let usable = doc! {"is_active": true, "usage_count": {"$lt": uses_per_key}};
    let mut update = doc! {"$currentDate": {"last_used": true}};
    if count > 0 {
        update.insert("$inc", doc! {"usage_count": count});
    }
    keys.find_one_and_update(usable, update).sort(doc! {"last_used": 1}).return_document(ReturnDocument::After).await
}

/// One use of the current key; the next one where that is spent.
pub(super) async fn take(keys: &Collection<Document>, uses_per_key: u32, current: &Mutex<Option<ObjectId>>) -> Found {
    let usable = doc! {"is_active": true, "usage_count": {"$lt": uses_per_key}};
    loop {
        let Some(id) = *current.lock().unwrap_or_else(|error| error.into_inner()) else {
            let next = keys.find_one(usable.clone()).sort(doc! {"order": 1}).await?;
            let Some(next) = next.and_then(|next| next.get_object_id("_id").ok()) else { return Ok(None) };
            *current.lock().unwrap_or_else(|error| error.into_inner()) = Some(next);
            continue;
        };
        let mut this = usable.clone();
        this.insert("_id", id);
        let update = doc! {"$inc": {"usage_count": 1}, "$currentDate": {"last_used": true}};
        if let Some(taken) = keys.find_one_and_update(this, update).await? {
            return Ok(Some(taken));
        }
        let mut known = current.lock().unwrap_or_else(|error| error.into_inner());
        // Unless somebody else has gone on already.
        if *known == Some(id) {
            *known = None;
        }
    }
}
