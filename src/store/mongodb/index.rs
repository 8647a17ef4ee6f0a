//! The indexes, each with the query that it serves.

use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;

use super::duplicates::{self, Duplicates};
use super::{MongoStore, error};
use crate::domain::{Picks, Policy};
use crate::store::StoreError;
use crate::store::error::Cause;

/// The index that keeps secrets unique, and the one that stands in where it cannot be made.
const SECRETS: &str = "keylend_api_key";
const SECRETS_ANYHOW: &str = "keylend_api_key_not_unique";

/// How many secrets that are held more than once are told of, and the longest that the look for them takes.
const NAMED: u32 = 5;
const NAMING: Duration = Duration::from_secs(20);

/// The code for a collection that is not there.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// An index, and what it means to go on without it where documents that were there before are in its way.
struct Wanted {
    index: IndexModel,
    without: &'static str,
}

impl Wanted {
    fn name(&self) -> &str {
        self.index.options.as_ref().and_then(|options| options.name.as_deref()).unwrap_or_default()
    }
}

/// The indexes of a pool. Their names are keylend's own, so that they stand beside those that other programs made on
/// the same collection.
fn wanted(pool: &Policy) -> Vec<Wanted> {
    let plain = IndexOptions::default;
    let unique_where =
        |filter: Document| IndexOptions::builder().unique(true).partial_filter_expression(filter).build();
    let (pick, place) = match pool.picks {
        Picks::LeastRecentlyUsed => ("keylend_pick_last_used", "last_used"),
        Picks::InOrder => ("keylend_pick_order", "order"),
    };
    let mut all = vec![
        // The pick: the counts of `$in` are merged in order, so it reads the first keys of each count and no more.
        wanted_index(
            pick,
            doc! {"is_active": 1, "usage_count": 1, place: 1, "_id": 1},
            plain(),
            "each pick reads every key, and is slower",
        ),
        // One key per secret, and look_up and increment_usage by secret. Documents without a secret do not collide.
        wanted_index(
            SECRETS,
            doc! {"api_key": 1},
            unique_where(doc! {"api_key": {"$gt": ""}}),
            "two callers at the same moment could add the same key again",
        ),
        // The sweep's lapsed leases.
        wanted_index(
            "keylend_lapsing",
            doc! {"leases.expires_at": 1},
            IndexOptions::builder().sparse(true).build(),
            "each sweep reads every key, and is slower",
        ),
        // One open lease per Idempotency-Key, whichever instance it reaches; and give_back, which knows no key.
        wanted_index(
            "keylend_idem",
            doc! {"leases.idem": 1},
            unique_where(doc! {"leases.idem": {"$exists": true}}),
            "it holds leases that are not keylend's, and a repeated request may get a second lease",
        ),
    ];
    if pool.picks == Picks::InOrder {
        // The list, which shows all keys in the order of the pick.
        all.push(wanted_index(
            "keylend_place",
            doc! {"order": 1, "_id": 1},
            plain(),
            "each page of the list reads every key, and is slower",
        ));
    }
    all
}

fn wanted_index(name: &str, keys: Document, mut options: IndexOptions, without: &'static str) -> Wanted {
    options.name = Some(name.to_owned());
    Wanted { index: IndexModel::builder().keys(keys).options(options).build(), without }
}

pub(super) async fn prepare(store: &MongoStore, pool: &Policy) -> Result<Vec<String>, StoreError> {
    let mut notices = Vec::new();
    for wanted in wanted(pool) {
        if let Err(why) = make(store, pool, &wanted.index).await? {
            let in_the_way = if wanted.name() == SECRETS { stand_in(store, pool).await? } else { String::new() };
            notices.push(format!(
                "collection {} goes on without the index {}, which could not be made ({why}): {in_the_way}{}",
                pool.collection,
                wanted.name(),
                wanted.without
            ));
        } else if wanted.name() == SECRETS {
            stand_down(store, pool).await?;
        }
    }
    Ok(notices)
}

/// Makes an index, where it is not there; the inner error says why the server will not.
async fn make(store: &MongoStore, pool: &Policy, index: &IndexModel) -> Result<Result<(), Cause>, StoreError> {
    let keys = store.keys(pool);
    let made = error::again_after_conflicts(|| async { keys.create_index(index.clone()).await }).await;
    match made.map_err(error::of_write) {
        Ok(_) => Ok(Ok(())),
        Err(StoreError::Refused(why)) => Ok(Err(why)),
        Err(error) => Err(error),
    }
}

/// Without the unique index on secrets: makes one that serves the look-ups all the same, and says which documents are
/// in the way.
async fn stand_in(store: &MongoStore, pool: &Policy) -> Result<String, StoreError> {
    let plain = wanted_index(SECRETS_ANYHOW, doc! {"api_key": 1}, IndexOptions::default(), "");
    // Where even that cannot be made, look-ups are slower.
    let _ = make(store, pool, &plain.index).await?;
    // Naming them is a service; whatever keeps the server from it, the pool goes on.
    let found = duplicates::find(store, pool, NAMED, NAMING).await;
    Ok(found.map(|found| in_words(&found)).unwrap_or_default())
}

/// Drops the index that stood in, where there is one: what was in the way of the unique one has been seen to.
async fn stand_down(store: &MongoStore, pool: &Policy) -> Result<(), StoreError> {
    if made(store, pool).await?.iter().any(|index| index.get_str("name").ok() == Some(SECRETS_ANYHOW)) {
        // Another instance may have dropped it, and the compatible server behind the tests answers in a way that the
        // driver cannot read. Where it stays, it is only of no use.
        let _ = store.keys(pool).drop_index(SECRETS_ANYHOW).await;
    }
    Ok(())
}

/// Which documents hold the same secret, without the secret.
fn in_words(found: &Duplicates) -> String {
    if found.total == 0 {
        return String::new();
    }
    let groups: Vec<String> = found.ids.iter().map(|ids| ids.join(" = ")).collect();
    let more = if found.total > groups.len() as u64 { ", .." } else { "" };
    format!(
        "it holds {} api_key more than once ({}{more}; keep one document of each and start again); until then ",
        found.total,
        groups.join(", ")
    )
}

/// Whether the server keeps the pool's secrets unique now.
pub(super) async fn keeps_secrets_unique(store: &MongoStore, pool: &Policy) -> Result<bool, StoreError> {
    Ok(made(store, pool).await?.iter().any(is_unique_secret))
}

/// Whether this index lets no text be the `api_key` of two documents, whoever made it.
fn is_unique_secret(index: &Document) -> bool {
    let is_true = match index.get("unique") {
        Some(Bson::Boolean(unique)) => *unique,
        Some(Bson::Int32(unique)) => *unique != 0,
        Some(Bson::Double(unique)) => *unique != 0.0,
        _ => false,
    };
    let on_secret = index.get_document("key").is_ok_and(|key| key.keys().eq(["api_key"]));
    let of_all = !index.contains_key("partialFilterExpression") || index.get_str("name").ok() == Some(SECRETS);
    is_true && on_secret && of_all
}

/// The names of keylend's indexes that are not there.
pub(super) async fn missing(store: &MongoStore, pool: &Policy) -> Result<Vec<String>, StoreError> {
    let made = made(store, pool).await?;
    let is_made = |name: &str| made.iter().any(|index| index.get_str("name").ok() == Some(name));
    Ok(wanted(pool).iter().map(Wanted::name).filter(|name| !is_made(name)).map(str::to_owned).collect())
}

/// The indexes that are there. As documents, for other programs may have made some that the driver does not know.
async fn made(store: &MongoStore, pool: &Policy) -> Result<Vec<Document>, StoreError> {
    let listed = match store.database.run_cursor_command(doc! {"listIndexes": &pool.collection}).await {
        Ok(listed) => listed.try_collect().await,
        Err(error) => Err(error),
    };
    match listed {
        Err(error) if is_not_there(&error) => Ok(Vec::new()),
        listed => listed.map_err(error::of_read),
    }
}

/// Whether there is no such collection.
pub(super) fn is_not_there(error: &mongodb::error::Error) -> bool {
    matches!(*error.kind, ErrorKind::Command(ref command) if command.code == NAMESPACE_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_any_maker_can_keep_secrets_unique() {
        let unique = doc! {"name": "api_key_1", "key": {"api_key": 1}, "unique": true};
        assert!(is_unique_secret(&unique));
        let ours = doc! {
            "name": SECRETS, "key": {"api_key": 1}, "unique": true, "partialFilterExpression": {"api_key": {"$gt": ""}},
        };
        assert!(is_unique_secret(&ours));
        for (field, value) in [
            ("unique", Bson::Boolean(false)),
            ("unique", Bson::Null),
            ("key", doc! {"api_key": 1, "owner": 1}.into()),
            ("key", doc! {"owner": 1}.into()),
            ("partialFilterExpression", doc! {"is_active": true}.into()),
        ] {
            let mut other = unique.clone();
            other.insert(field, value);
            assert!(!is_unique_secret(&other), "{other}");
        }
    }

    #[test]
    fn duplicates_are_named_by_their_ids() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let found = Duplicates { total: 3, ids: vec![ids(&["a", "b"]), ids(&["c", "d"])] };
        let words = in_words(&found);
        assert!(words.starts_with("it holds 3 api_key more than once (a = b, c = d, ..; keep"), "{words}");
        assert_eq!(in_words(&Duplicates { total: 0, ids: Vec::new() }), "");
    }
}
