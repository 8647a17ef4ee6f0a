//! The step of a lone caller: one sorted find-and-modify.

use bson::Document;

use super::{MongoStore, filter};
use crate::domain::Policy;

impl MongoStore {
    /// Changes the usable key that goes first, and reads `projection` of it as it is afterwards; None = there is none.
    /// `besides`: what it must match as well.
    ///
    /// A crowd that waits on one document would all get it when its turn comes, for each has chosen it already. So the
    /// keys handed out just now are left out first.
    pub(super) async fn pick(
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
            let mut usable = filter::usable(uses_per_key, cool);
            usable.extend(besides.clone());
            let picked = self.change(pool, usable, update.clone(), sort.clone(), projection.clone()).await?;
            if picked.is_some() {
                return Ok(picked);
            }
        }
        Ok(None)
    }
}
