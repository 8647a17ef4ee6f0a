//! The step of a lone caller: one sorted find-and-modify. Where the server would sort all usable keys for it, the first
//! ones are read by the index, and one of them is changed if the whole rule still holds for it.

use bson::Document;

use super::{MongoStore, filter};
use crate::domain::Policy;
use crate::store::StoreError;

/// How many keys are read. Where others were faster on the first one, the next one goes first.
const NEXT: usize = 4;

/// How often they are read, where others were faster on all of them.
const TRIES: u32 = 4;

impl MongoStore {
    /// Changes the usable key that goes first, and reads `projection` of it as it is afterwards; None = there is none.
    /// `besides`: what it must match as well.
    ///
    /// The outer error is the change's, after which nobody knows whether it happened; the inner one came before it.
    pub(super) async fn pick(
        &self,
        pool: &Policy,
        uses_per_key: u32,
        besides: Document,
        update: Vec<Document>,
        projection: Document,
    ) -> Result<Result<Option<Document>, StoreError>, mongodb::error::Error> {
        let tries = match self.merges().await {
            Ok(true) => 0,
            Ok(false) => TRIES,
            Err(error) => return Ok(Err(error)),
        };
        for _ in 0..tries {
            let first = match self.first(pool, uses_per_key, &besides, 1, NEXT).await {
                Ok(first) => first,
                Err(error) => return Ok(Err(error)),
            };
            if first.is_empty() {
                return Ok(Ok(None));
            }
            for candidate in first {
                let mut usable =
                    filter::usable(&self.openable(), uses_per_key, filter::spreads(pool) && !candidate.hot);
                usable.extend(besides.clone());
                usable.insert("_id", candidate.id);
                let picked = self.change(pool, usable, update.clone(), None, projection.clone()).await?;
                if picked.is_some() {
                    return Ok(Ok(picked));
                }
            }
        }
        // Also where so many others take keys that whoever reads first always comes too late.
        self.pick_sorted(pool, uses_per_key, besides, update, projection).await.map(Ok)
    }

    /// The same in one find-and-modify.
    ///
    /// A crowd that waits on one document would all get it when its turn comes, for each has chosen it already. So the
    /// keys handed out just now are left out first.
    async fn pick_sorted(
        &self,
        pool: &Policy,
        uses_per_key: u32,
        besides: Document,
        update: Vec<Document>,
        projection: Document,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        let sort = Some(filter::order(pool.picks));
        for cool in [true, false] {
            if cool && !filter::spreads(pool) {
                continue;
            }
            let mut usable = filter::usable(&self.openable(), uses_per_key, cool);
            usable.extend(besides.clone());
            let picked = self.change(pool, usable, update.clone(), sort.clone(), projection.clone()).await?;
            if picked.is_some() {
                return Ok(picked);
            }
        }
        Ok(None)
    }
}
