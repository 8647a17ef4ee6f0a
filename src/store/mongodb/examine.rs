//! examine: what a collection holds, for the person who must see to it. Reads only.

use std::time::Duration;

use bson::{Bson, Document, RawDocumentBuf, bson, doc};
use futures_util::TryStreamExt;

use super::expression::Openable;
use super::{MongoStore, document, duplicates, error, expression, index, keep, stats};
use crate::domain::Policy;
use crate::domain::secret::STANDS_FOR;
use crate::store::vault::NotOpened;
use crate::store::{Examination, InvalidKey, StoreError};

/// The longest that the server looks through a collection.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn examine(store: &MongoStore, pool: &Policy, listed: u32) -> Result<Examination, StoreError> {
    let missing_indexes = index::missing(store, pool).await?;
    let named = store.database.list_collection_names().filter(doc! {"name": &pool.collection}).await;
    if named.map_err(error::of_read)?.is_empty() {
        return Ok(Examination { missing_indexes, ..Examination::default() });
    }
    let counts = read(store, pool, counting(&store.openable())).await?.into_iter().next().unwrap_or_default();
    let invalid =
        if listed == 0 { Vec::new() } else { read(store, pool, first_invalid(&store.openable(), listed)).await? };
    let duplicates = duplicates::find(store, pool, listed, LIMIT).await?;
    Ok(Examination {
        exists: true,
        documents: stats::whole(&counts, "documents"),
        with_credits: stats::whole(&counts, "with_credits"),
        needs_migration: stats::whole(&counts, "needs_migration"),
        wrong_keys: keep::wrong_keys(store, pool).await?,
        encrypted: encrypted(store, pool).await?,
        invalid: stats::whole(&counts, "invalid"),
        invalid_keys: invalid.iter().map(invalid_key).collect(),
        duplicates: duplicates.total,
        duplicate_ids: duplicates.ids.into_iter().take(listed as usize).collect(),
        missing_indexes,
    })
}

async fn read(store: &MongoStore, pool: &Policy, pipeline: Vec<Document>) -> Result<Vec<Document>, StoreError> {
    let keys = store.keys(pool);
    let found = keys.aggregate(pipeline).allow_disk_use(true).max_time(LIMIT);
    let found = found.with_type::<RawDocumentBuf>().await.map_err(error::of_read)?;
    let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(error::of_read)?;
    found.into_iter().map(document::lossy).collect::<Result<_, _>>().map_err(error::of_read)
}

fn counting(openable: &Openable<'_>) -> Vec<Document> {
    let sum = |rule: Document| doc! {"$sum": {"$cond": [rule, 1, 0]}};
    vec![doc! {"$group": {
        "_id": Bson::Null,
        "documents": {"$sum": 1},
        "with_credits": sum(expression::has_credits()),
        "needs_migration": sum(expression::needs_migration()),
        "invalid": sum(doc! {"$not": [expression::is_valid(openable)]}),
    }}]
}

/// How many keys are encrypted with which key, those apart that are invalid.
async fn encrypted(store: &MongoStore, pool: &Policy) -> Result<Vec<(String, u64)>, StoreError> {
    let plain = expression::is_secret(&Openable::By(Vec::new()));
    let is_sealed = doc! {"$and": [expression::is_valid(&store.openable()), {"$not": [plain]}]};
    let by_key = vec![
        doc! {"$match": {"$expr": is_sealed}},
        doc! {"$group": {"_id": "$sealed_by", "documents": {"$sum": 1}}},
        doc! {"$sort": {"_id": 1}},
    ];
    let groups = read(store, pool, by_key).await?;
    let count = |group: &Document| Some((group.get_str("_id").ok()?.to_owned(), stats::whole(group, "documents")));
    Ok(groups.iter().filter_map(count).collect())
}

/// The first documents that are no keys, of each what is to be said about it: types and judgements, no values.
fn first_invalid(openable: &Openable<'_>, listed: u32) -> Vec<Document> {
    let type_of = |field: &str| doc! {"$type": format!("${field}")};
    let is_text = doc! {"$eq": [type_of("api_key"), "string"]};
    let text = doc! {"$cond": [is_text, "$api_key", ""]};
    vec![
        doc! {"$match": {"$expr": {"$not": [expression::is_valid(openable)]}}},
        doc! {"$sort": {"_id": 1}},
        doc! {"$limit": i64::from(listed)},
        doc! {"$project": {
            "_id": 0,
            "id": document::id_to_describe(),
            "api_key": type_of("api_key"),
            "is_secret": expression::is_secret(openable),
            "stands_for_one": {"$regexMatch": {"input": &text, "regex": format!("^{STANDS_FOR}")}},
            "is_sealed": expression::is_secret(&Openable::All),
            "is_unreadable": {"$and": [
                {"$eq": [{"$type": "$sealed"}, "binData"]}, {"$eq": ["$sealed", "$unreadable"]},
            ]},
            "is_empty": {"$eq": ["$api_key", ""]},
            "is_visible": {"$regexMatch": {"input": text, "regex": "^[!-~]+\\z"}},
            "usage_count": type_of("usage_count"),
            "is_whole": expression::is_whole(),
            "number": {"$cond": [expression::is_number(), "$usage_count", Bson::Null]},
            "leases": type_of("leases"),
            "has_leases_or_none": expression::has_leases_or_none(),
        }},
    ]
}

/// What is wrong with a document, of what [`first_invalid`] reads of it.
fn invalid_key(found: &Document) -> InvalidKey {
    let is = |field: &str| found.get(field) == Some(&bson!(true));
    let type_of = |field: &str| found.get_str(field).unwrap_or_default();
    let mut reasons = Vec::new();
    let id = found.get_document("id").ok();
    let id_type = id.and_then(|id| id.get_str("type").ok()).unwrap_or_default();
    if id_type != "objectId" {
        reasons.push(format!("_id is {}", document::type_in_words(id_type)));
    }
    if !is("is_secret") {
        reasons.push(match type_of("api_key") {
            "string" if is("stands_for_one") => {
                let why = match () {
                    () if is("is_sealed") => NotOpened::UnknownKey,
                    () if is("is_unreadable") => NotOpened::Unreadable,
                    () => NotOpened::NoSecret,
                };
                format!("api_key: {why}")
            }
            "string" if is("is_empty") => "api_key is empty".to_owned(),
            "string" if is("is_visible") => "api_key is longer than 4096 characters".to_owned(),
            "string" => "api_key has a character that is not visible ASCII".to_owned(),
            other => format!("api_key is {}", document::type_in_words(other)),
        });
    }
    if !is("is_whole") {
        let number = match found.get("number") {
            Some(Bson::Int32(number)) => Some(f64::from(*number)),
            Some(Bson::Int64(number)) => Some(*number as f64),
            Some(Bson::Double(number)) => Some(*number),
            _ => None,
        };
        reasons.push(match number {
            None => format!("usage_count is {}", document::type_in_words(type_of("usage_count"))),
            Some(number) if !number.is_finite() => "usage_count is no finite number".to_owned(),
            Some(number) if number < 0.0 => "usage_count is negative".to_owned(),
            Some(number) if number.fract() != 0.0 => "usage_count is not whole".to_owned(),
            Some(_) => "usage_count is too large".to_owned(),
        });
    }
    if !is("has_leases_or_none") {
        reasons.push(match type_of("leases") {
            "array" => "leases has an entry that is not keylend's".to_owned(),
            other => format!("leases is {}", document::type_in_words(other)),
        });
    }
    InvalidKey { id: id.map(document::described_id).unwrap_or_default(), reasons }
}
