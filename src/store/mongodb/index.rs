//! The indexes, each with the query that it serves.

use bson::{Document, doc};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;

use super::{MongoStore, error};
use crate::domain::{Picks, Policy};
use crate::store::StoreError;

/// The index without which an Idempotency-Key could get two leases.
const IDEM: &str = "keylend_idem";

/// The indexes of a pool: name, keys, options. The names are keylend's own, so that they stand beside those that
/// other programs made on the same collection.
fn wanted(pool: &Policy) -> Vec<IndexModel> {
    let model = |name: &str, keys: Document, mut options: IndexOptions| {
        options.name = Some(name.to_owned());
        IndexModel::builder().keys(keys).options(options).build()
    };
    let plain = IndexOptions::default;
    let unique_where =
        |filter: Document| IndexOptions::builder().unique(true).partial_filter_expression(filter).build();
    let place = match pool.picks {
        Picks::LeastRecentlyUsed => "last_used",
        Picks::InOrder => "order",
    };
    vec![
        // The pick: the counts of `$in` are merged in order, so it reads the first keys of each count and no more.
        model("keylend_pick", doc! {"is_active": 1, "usage_count": 1, place: 1, "_id": 1}, plain()),
        // One key per secret, and look_up and increment_usage by secret. Documents without a secret do not collide.
        model("keylend_api_key", doc! {"api_key": 1}, unique_where(doc! {"api_key": {"$gt": ""}})),
        // The sweep's lapsed leases.
        model("keylend_lapsing", doc! {"leases.expires_at": 1}, IndexOptions::builder().sparse(true).build()),
        // One open lease per Idempotency-Key, whichever instance it reaches; and give_back, which knows no key.
        model(IDEM, doc! {"leases.idem": 1}, unique_where(doc! {"leases.idem": {"$exists": true}})),
    ]
}

pub(super) async fn prepare(store: &MongoStore, pool: &Policy) -> Result<Vec<String>, StoreError> {
    let keys = store.keys(pool);
    let mut notices = Vec::new();
    for index in wanted(pool) {
        let made = error::again_after_conflicts(|| async { keys.create_index(index.clone()).await }).await;
        let Err(error) = made else { continue };
        // What the collection already holds can stand in the way of an index. Without the unique one on the leases
        // nothing may be lent; without another keys are lent all the same.
        let name = index.options.and_then(|options| options.name).unwrap_or_default();
        let duplicates = error::is_duplicate(&error);
        match error::of_write(error) {
            StoreError::Refused(why) if name != IDEM => notices.push(if duplicates {
                format!(
                    "collection {} holds the same api_key more than once: it goes on without a unique index",
                    pool.collection
                )
            } else {
                format!(
                    "collection {}: index {name} could not be made ({why}): it goes on without, and slower",
                    pool.collection
                )
            }),
            error => return Err(error),
        }
    }
    Ok(notices)
}
