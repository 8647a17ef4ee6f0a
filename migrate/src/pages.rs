//! All documents of a collection, page by page in the order of their ids, each read once; and a change of many of them.
//!
//! No more than a few pages are ever in memory, and every wait for the server has a limit.

use std::time::Duration;

use bson::{Bson, RawDocumentBuf, doc};
use futures_util::{Stream, TryStreamExt, stream};
use keylend::store::StoreError;
use keylend::store::mongodb::{document, error};
use mongodb::{Collection, Cursor};

use crate::shape::Shape;
use crate::steps::Change;

/// The documents of a pool, as bytes.
pub type Keys = Collection<RawDocumentBuf>;

/// How many documents are in a page. A change of one takes a fraction of a second, and where a server holds what it has
/// changed until it has changed all, others do not wait longer than that.
pub const PAGE: usize = 2000;

/// How often documents are tried that others change at the same time.
pub(crate) const TRIES: usize = 4;

/// The longest wait for one answer of the server.
const LIMIT: Duration = Duration::from_secs(60);

/// The pages of a collection.
pub fn read(keys: &Keys) -> impl Stream<Item = Result<Vec<Shape>, StoreError>> {
    stream::try_unfold(None, async |cursor: Option<Cursor<RawDocumentBuf>>| {
        let mut cursor = match cursor {
            Some(cursor) => cursor,
            None => {
                let all = keys.find(doc! {}).sort(doc! {"_id": 1}).projection(Shape::projection());
                within(async { all.batch_size(PAGE as u32).await.map_err(error::of_read) }).await?
            }
        };
        let mut page = Vec::with_capacity(PAGE);
        while page.len() < PAGE && within(async { cursor.advance().await.map_err(error::of_read) }).await? {
            page.push(shape(cursor.deserialize_current())?);
        }
        Ok((!page.is_empty()).then_some((page, Some(cursor))))
    })
}

/// The documents of these ids that are there, as they are now.
///
/// # Errors
/// Where the server cannot be asked.
pub async fn again(keys: &Keys, ids: &[Bson]) -> Result<Vec<Shape>, StoreError> {
    let filter = doc! {"_id": {"$in": ids}};
    some(keys, filter, ids.len()).await
}

/// The first documents, by their ids.
///
/// # Errors
/// Where the server cannot be asked.
pub async fn first(keys: &Keys, number: usize) -> Result<Vec<Shape>, StoreError> {
    // A limit of 0 would be none.
    if number == 0 { Ok(Vec::new()) } else { some(keys, doc! {}, number).await }
}

async fn some(keys: &Keys, filter: bson::Document, number: usize) -> Result<Vec<Shape>, StoreError> {
    let found = keys.find(filter).sort(doc! {"_id": 1}).projection(Shape::projection()).limit(number as i64);
    let found: Vec<RawDocumentBuf> = within(async {
        let cursor = found.await.map_err(error::of_read)?;
        cursor.try_collect().await.map_err(error::of_read)
    })
    .await?;
    found.into_iter().map(|document| shape(Ok(document))).collect()
}

fn shape(document: mongodb::error::Result<RawDocumentBuf>) -> Result<Shape, StoreError> {
    let document = document.and_then(document::lossy).map_err(error::of_read)?;
    Ok(Shape::of(&document))
}

/// Changes those of these documents that the change is for, and answers how many that were.
///
/// # Errors
/// Where the server cannot be asked, or does not answer: some of them may be changed then, each of them wholly.
pub async fn change(keys: &Keys, ids: &[Bson], change: &Change) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let filter = change.filter(ids);
    within(async {
        let changed =
            error::again_after_conflicts(|| async { keys.update_many(filter.clone(), change.update.clone()).await });
        Ok(changed.await.map_err(error::of_write)?.modified_count)
    })
    .await
}

/// The answer, if it comes in time.
pub(crate) async fn within<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Unresolved(format!("no answer within {} s", LIMIT.as_secs()).into());
    tokio::time::timeout(LIMIT, answer).await.unwrap_or_else(|_| Err(late()))
}
