//! increment_usage: count a use that has happened, or uses of many keys.

use std::collections::{BTreeMap, HashMap};

use bson::oid::ObjectId;
use bson::{Document, bson, doc};
use futures_util::TryStreamExt;

use super::expression::{self, NOW};
use super::{MongoStore, document, error, filter};
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::{KeyRef, Policy};
use crate::store::{Incremented, StoreError};

/// How often a key is tried that can be counted on when it is looked at, and could not be the moment before.
const LOOKS: u32 = 3;

/// What is read of a key that was counted on.
fn fields() -> Document {
    doc! {"usage_count": 1, "last_used": 1}
}

pub(super) async fn increment_usage(
    store: &MongoStore,
    pool: &Policy,
    key: &KeyRef,
) -> Result<Incremented, StoreError> {
    let its_key = filter::key(&store.vault, pool, key);
    let mut countable = its_key.clone();
    let mut rule = vec![bson!(is_countable())];
    rule.extend(countable.remove("$expr"));
    countable.insert("$expr", doc! {"$and": rule});
    let mut set = expression::counted(1);
    set.insert("last_used", NOW);
    let update = vec![doc! {"$set": set}];
    for _ in 0..LOOKS {
        let counted = store.change(pool, countable.clone(), update.clone(), None, fields()).await;
        if let Some(counted) = counted.map_err(error::of_write)? {
            return Ok(incremented(&counted));
        }
        // Not counted: there is no such key, or its count is no number, or it has only just been added.
        let read = doc! {"_id": 1, "countable": is_countable()};
        let known = store.keys(pool).find_one(its_key.clone()).projection(read).max_time(store.time_limit).await;
        match known.map_err(error::of_read)? {
            None => return Ok(Incremented::UnknownKey),
            Some(known) if !known.get_bool("countable").unwrap_or(false) => return Ok(Incremented::InvalidKey),
            Some(_) => {}
        }
    }
    Err(StoreError::Away("the key was changed by others whenever it was to be counted".into()))
}

/// Whether one use can be counted on a document. One that no id can name cannot be answered, so nothing is counted on it
/// either.
fn is_countable() -> Document {
    doc! {"$and": [
        {"$or": [expression::is_countable(), expression::is_missing("usage_count")]},
        expression::has_object_id(),
    ]}
}

/// The answer for a document read with [`fields`].
fn incremented(counted: &Document) -> Incremented {
    match (document::id(counted), document::instant(counted.get("last_used"))) {
        (Some(id), Some(last_used)) => {
            Incremented::Counted { id, usage_count: document::usage_count(counted.get("usage_count")), last_used }
        }
        _ => Incremented::InvalidKey,
    }
}

/// One read of which documents are meant, one update of all of them by id, and one read of their counts. So two
/// documents with the same secret are one key here too, and all who change many documents lock them in one order.
pub(super) async fn increment_all(
    store: &MongoStore,
    pool: &Policy,
    keys: &[KeyRef],
) -> Result<Vec<Option<Incremented>>, StoreError> {
    let meant = find(store, pool, keys).await?;
    let mut uses: BTreeMap<ObjectId, i64> = BTreeMap::new();
    for id in meant.iter().filter_map(Meant::plain) {
        *uses.entry(id).or_default() += 1;
    }
    let counted = if uses.is_empty() { HashMap::new() } else { count_each(store, pool, &uses).await? };
    let answer = |meant: &Meant| match meant {
        Meant::Unknown => Some(Incremented::UnknownKey),
        Meant::Plain(id) => counted.get(id).map(incremented),
        Meant::Odd => None,
    };
    Ok(meant.iter().map(answer).collect())
}

/// The document that a caller means.
#[derive(Clone, Copy)]
enum Meant {
    Unknown,
    /// As many uses as go together can be counted on it.
    Plain(ObjectId),
    /// Anything else, which is looked at alone.
    Odd,
}

impl Meant {
    fn plain(&self) -> Option<ObjectId> {
        match self {
            Self::Plain(id) => Some(*id),
            Self::Unknown | Self::Odd => None,
        }
    }
}

async fn find(store: &MongoStore, pool: &Policy, keys: &[KeyRef]) -> Result<Vec<Meant>, StoreError> {
    let most = MAX_USAGE_COUNT as i64 - keys.len() as i64;
    let is_below = doc! {"$lt": [expression::count(), most]};
    let read = doc! {
        "api_key": document::typed("$api_key", "string"),
        "plain": {"$and": [is_countable(), is_below]},
    };
    let documents = store.keys(pool);
    let found = documents.find(filter::keys(&store.vault, pool, keys)).projection(read).max_time(store.time_limit);
    let found: Vec<_> = found.await.map_err(error::of_read)?.try_collect().await.map_err(error::of_read)?;
    let found: Result<Vec<Document>, _> = found.into_iter().map(document::lossy).collect();
    let found = found.map_err(error::of_read)?;
    let mut by_id: HashMap<ObjectId, Meant> = HashMap::new();
    let mut by_secret: HashMap<&str, Meant> = HashMap::new();
    for document in &found {
        let meant = match document.get_object_id("_id") {
            Ok(id) if document.get_bool("plain").unwrap_or(false) => Meant::Plain(id),
            _ => Meant::Odd,
        };
        if let Ok(id) = document.get_object_id("_id") {
            by_id.insert(id, meant);
        }
        if let Ok(secret) = document.get_str("api_key") {
            by_secret.entry(secret).or_insert(meant);
        }
    }
    let meant = |key: &KeyRef| match key {
        KeyRef::Id(id) => by_id.get(&filter::object_id(*id)),
        KeyRef::Secret(secret) => store.vault.texts(pool, secret).iter().find_map(|text| by_secret.get(text.as_str())),
    };
    Ok(keys.iter().map(|key| meant(key).copied().unwrap_or(Meant::Unknown)).collect())
}

/// Counts so many uses on each of these, and reads them afterwards.
async fn count_each(
    store: &MongoStore,
    pool: &Policy,
    uses: &BTreeMap<ObjectId, i64>,
) -> Result<HashMap<ObjectId, Document>, StoreError> {
    let ids: Vec<ObjectId> = uses.keys().copied().collect();
    let numbers: Vec<i64> = uses.values().copied().collect();
    let place = doc! {"$indexOfArray": [{"$literal": &ids}, "$_id"]};
    let mut set = expression::counted(doc! {"$arrayElemAt": [{"$literal": numbers}, place]});
    set.insert("last_used", NOW);
    let countable = doc! {"_id": {"$in": &ids}, "$expr": is_countable()};
    let changed = store.change_each(pool, countable, vec![doc! {"$set": set}]).await?;
    let read = store.read_each(pool, doc! {"_id": {"$in": &ids}}, fields()).await?;
    if changed != ids.len() as u64 || read.len() != ids.len() {
        return Err(StoreError::Unresolved("a key went, or lost its count, while uses of it were counted".into()));
    }
    Ok(read.into_iter().filter_map(|document| Some((document.get_object_id("_id").ok()?, document))).collect())
}
