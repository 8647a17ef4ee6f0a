//! What the server's planner makes of a sorted pick.

use bson::doc;

use super::{MongoStore, error};
use crate::store::StoreError;

/// The field of `buildInfo` by which FerretDB tells that it is not MongoDB.
const FERRETDB: &str = "ferretdb";

impl MongoStore {
    /// Whether the server merges the index's ranges for an `$in` in the order of the sort, as MongoDB does: a pick reads
    /// a few entries then. FerretDB reads and sorts all usable keys. It is asked once.
    pub(super) async fn merges(&self) -> Result<bool, StoreError> {
        let asked = self.merges.get_or_try_init(|| async {
            let told = self.database.run_command(doc! {"buildInfo": 1}).await.map_err(error::of_read)?;
            Ok(!told.contains_key(FERRETDB))
        });
        asked.await.copied()
    }

    /// Takes the server to merge them, whichever it is: so both ways to pick are tested on any.
    #[doc(hidden)]
    #[must_use]
    pub fn taken_to_merge(mut self) -> Self {
        self.merges = true.into();
        self
    }
}
