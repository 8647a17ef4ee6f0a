//! list: a page of keys, in the order of their places.

use bson::{Document, RawDocumentBuf, doc, oid::ObjectId};
use futures_util::TryStreamExt;

use super::{MongoStore, Page, document, error, expression, filter};
use crate::domain::{KeyRecord, Picks, Place, Policy};
use crate::store::{Seen, StoreError};

pub(super) async fn list(store: &MongoStore, pool: &Policy, page: Page) -> Result<Seen<Vec<KeyRecord>>, StoreError> {
    let now = store.now().await?;
    let mut records = Vec::new();
    for mut part in parts(pool.picks, page.after) {
        let left = i64::from(page.limit) - records.len() as i64;
        // For the server, a limit of 0 is no limit.
        if left <= 0 {
            break;
        }
        if let Some(state) = page.state {
            let is_in = doc! {"$eq": [expression::state(&store.openable(), pool.uses_per_key, expression::date(now)), state.as_str()]};
            part.rule.push(is_in);
        }
        if !part.rule.is_empty() {
            part.filter.insert("$expr", doc! {"$and": part.rule});
        }
        let found = store
            .keys(pool)
            .find(part.filter)
            .sort(part.order)
            .limit(left)
            .projection(document::record_projection())
            .max_time(store.time_limit)
            .await
            .map_err(error::of_read)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(error::of_read)?;
        let record = |found| document::record(&store.vault, pool, &document::lossy(found).ok()?);
        records.extend(found.into_iter().filter_map(record));
    }
    Ok(Seen { value: records, now })
}

/// Keys that follow each other in an order of the server's.
struct Part {
    filter: Document,
    rule: Vec<Document>,
    order: Document,
}

/// The keys after a place, part by part. In an `in_order` pool those without an order of keylend's come first: other
/// types than its numbers would stand before and behind them for the server, and no cursor could name their place.
fn parts(picks: Picks, after: Option<Place>) -> Vec<Part> {
    // Comparing with an ObjectId matches ObjectIds only: documents with another id have none that names them.
    let ids = |after: Option<Place>| match after {
        Some(after) => doc! {"_id": {"$gt": filter::object_id(after.id)}},
        None => doc! {"_id": {"$gte": ObjectId::from_bytes([0; 12])}},
    };
    if picks == Picks::LeastRecentlyUsed {
        return vec![Part { filter: ids(after), rule: Vec::new(), order: doc! {"_id": 1} }];
    }
    let placed = after.and_then(|after| after.order.map(|order| (order, after.id)));
    let mut parts = Vec::new();
    if placed.is_none() {
        let rule = vec![doc! {"$not": [expression::has_order()]}];
        parts.push(Part { filter: ids(after), rule, order: doc! {"_id": 1} });
    }
    let mut filter = ids(None);
    let mut rule = vec![expression::has_order()];
    filter.insert("order", doc! {"$gte": placed.map_or(i64::MIN, |(order, _)| order)});
    if let Some((order, id)) = placed {
        let is_later = doc! {"$or": [{"$gt": ["$order", order]}, {"$gt": ["$_id", filter::object_id(id)]}]};
        rule.push(is_later);
    }
    parts.push(Part { filter, rule, order: doc! {"order": 1, "_id": 1} });
    parts
}
