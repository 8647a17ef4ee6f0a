//! known: which keys the pool has already.

use std::collections::HashSet;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;

use super::{MongoStore, document, error, filter};
use crate::domain::{NewKey, Policy};
use crate::store::StoreError;

pub(super) async fn known(store: &MongoStore, pool: &Policy, keys: &[NewKey]) -> Result<Vec<bool>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let texts: Vec<Vec<String>> = keys.iter().map(|key| store.vault.texts(pool, &key.secret)).collect();
    let asked: HashSet<&str> = texts.iter().flatten().map(String::as_str).collect();
    let ids: Vec<Bson> = keys.iter().filter_map(|key| key.id).map(|id| filter::object_id(id).into()).collect();
    let (mut known_ids, mut known_texts) = (HashSet::new(), HashSet::<&str>::new());
    // Two questions, each answered by its index, which holds texts from "" on: the query says so as well. Of what
    // matches a secret only the text itself: a list can match too.
    let is_text = doc! {"$eq": [{"$type": "$api_key"}, "string"]};
    let these: Vec<&str> = asked.iter().copied().collect();
    for question in [doc! {"api_key": {"$in": these, "$gt": ""}, "$expr": is_text.clone()}, doc! {"_id": {"$in": ids}}]
    {
        let found = store
            .keys(pool)
            .find(question)
            .projection(doc! {"api_key": {"$cond": [is_text.clone(), "$api_key", Bson::Null]}})
            .max_time(store.time_limit)
            .await
            .map_err(error::of_read)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(error::of_read)?;
        for found in found {
            let found: Document = document::lossy(found).map_err(error::of_read)?;
            known_ids.extend(document::id(&found));
            known_texts.extend(found.get_str("api_key").ok().and_then(|text| asked.get(text).copied()));
        }
    }
    let is_known = |(key, texts): (&NewKey, &Vec<String>)| {
        texts.iter().any(|text| known_texts.contains(text.as_str())) || key.id.is_some_and(|id| known_ids.contains(&id))
    };
    Ok(keys.iter().zip(&texts).map(is_known).collect())
}
