//! The indexes, each with the query that it serves.

use bson::{Document, doc};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;

use super::{MongoStore, error};
use crate::domain::{Picks, Policy};
use crate::store::StoreError;

/// The indexes of a pool, each with what it means to go on without it where documents that were there before are in
/// its way. The names are keylend's own, so that they stand beside those that
/// other programs made on the same collection.
fn wanted(pool: &Policy) -> Vec<(IndexModel, Option<&'static str>)> {
    let model = |name: &str, keys: Document, mut options: IndexOptions| {
        options.name = Some(format!("keylend_{name}"));
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
        (model("pick", doc! {"is_active": 1, "usage_count": 1, place: 1, "_id": 1}, plain()), None),
        // One key per secret, and look_up and increment_usage by secret. Documents without a secret do not collide.
        (
            model("api_key", doc! {"api_key": 1}, unique_where(doc! {"api_key": {"$gt": ""}})),
            Some(
                "holds the same api_key more than once: it goes on without the unique index, and the same key can be added again",
            ),
        ),
        // The sweep's lapsed leases.
        (model("lapsing", doc! {"leases.expires_at": 1}, IndexOptions::builder().sparse(true).build()), None),
        // One open lease per Idempotency-Key, whichever instance it reaches; and give_back, which knows no key.
        (
            model("idem", doc! {"leases.idem": 1}, unique_where(doc! {"leases.idem": {"$exists": true}})),
            Some(
                "holds leases that are not keylend's: it goes on without the unique index, and a repeated request may get a second lease",
            ),
        ),
    ]
}

pub(super) async fn prepare(store: &MongoStore, pool: &Policy) -> Result<Vec<String>, StoreError> {
    let keys = store.keys(pool);
    let mut notices = Vec::new();
    for (index, without) in wanted(pool) {
        let made = error::again_after_conflicts(|| async { keys.create_index(index.clone()).await }).await;
        match (made, without) {
            (Ok(_), _) => {}
            // Found, not made: keys are lent all the same.
            (Err(error), Some(without)) if error::is_duplicate(&error) => {
                notices.push(format!("collection {} {without}", pool.collection));
            }
            (Err(error), _) => return Err(error::of_write(error)),
        }
    }
    Ok(notices)
}
