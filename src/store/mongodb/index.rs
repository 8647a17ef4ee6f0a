//! The indexes, each with the query that it serves.

use bson::{Document, doc};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;

use super::{MongoStore, error};
use crate::domain::{Picks, Policy};
use crate::store::StoreError;

/// An index, and what it means to go on without it where documents that were there before are in its way.
struct Wanted {
    index: IndexModel,
    without: &'static str,
}

/// The indexes of a pool. Their names are keylend's own, so that they stand beside those that other programs made on
/// the same collection.
fn wanted(pool: &Policy) -> [Wanted; 4] {
    let wanted = |name: &str, keys: Document, mut options: IndexOptions, without: &'static str| {
        options.name = Some(name.to_owned());
        Wanted { index: IndexModel::builder().keys(keys).options(options).build(), without }
    };
    let plain = IndexOptions::default;
    let unique_where =
        |filter: Document| IndexOptions::builder().unique(true).partial_filter_expression(filter).build();
    let (pick, place) = match pool.picks {
        Picks::LeastRecentlyUsed => ("keylend_pick_last_used", "last_used"),
        Picks::InOrder => ("keylend_pick_order", "order"),
    };
    [
        // The pick: the counts of `$in` are merged in order, so it reads the first keys of each count and no more.
        wanted(
            pick,
            doc! {"is_active": 1, "usage_count": 1, place: 1, "_id": 1},
            plain(),
            "each pick reads every key, and is slower",
        ),
        // One key per secret, and look_up and increment_usage by secret. Documents without a secret do not collide.
        wanted(
            "keylend_api_key",
            doc! {"api_key": 1},
            unique_where(doc! {"api_key": {"$gt": ""}}),
            "it holds the same api_key more than once, and the same key can be added again",
        ),
        // The sweep's lapsed leases.
        wanted(
            "keylend_lapsing",
            doc! {"leases.expires_at": 1},
            IndexOptions::builder().sparse(true).build(),
            "each sweep reads every key, and is slower",
        ),
        // One open lease per Idempotency-Key, whichever instance it reaches; and give_back, which knows no key.
        wanted(
            "keylend_idem",
            doc! {"leases.idem": 1},
            unique_where(doc! {"leases.idem": {"$exists": true}}),
            "it holds leases that are not keylend's, and a repeated request may get a second lease",
        ),
    ]
}

pub(super) async fn prepare(store: &MongoStore, pool: &Policy) -> Result<Vec<String>, StoreError> {
    let keys = store.keys(pool);
    let mut notices = Vec::new();
    for Wanted { index, without } in wanted(pool) {
        let name = index.options.as_ref().and_then(|options| options.name.clone()).unwrap_or_default();
        let made = error::again_after_conflicts(|| async { keys.create_index(index.clone()).await }).await;
        match made.map_err(error::of_write) {
            Ok(_) => {}
            Err(StoreError::Refused(why)) => notices.push(format!(
                "collection {} goes on without the index {name}, which could not be made ({why}): {without}",
                pool.collection
            )),
            Err(error) => return Err(error),
        }
    }
    Ok(notices)
}
