//! Walk: all keys of a pool, part by part, while it is in use.

use super::{Pool, PoolError};
use crate::domain::{KeyRecord, Place, State};
use crate::store::{Page, Seen};

/// A way over the keys of a pool, in the order of their places. Each is as it was when its part was read.
pub struct Walk {
    pool: Pool,
    after: Option<Place>,
    at_once: u32,
    state: Option<State>,
}

impl Pool {
    /// A way over all keys, so many at a time.
    pub fn walk(&self, at_once: u32) -> Walk {
        Walk { pool: self.clone(), after: None, at_once, state: None }
    }
}

impl Walk {
    /// Only over keys in this state; None = all.
    pub fn only(self, state: Option<State>) -> Self {
        Self { state, ..self }
    }

    /// The next keys, one at least; None = there are no more.
    ///
    /// # Errors
    /// Where the store does not answer: it can be asked again.
    pub async fn next(&mut self) -> Result<Option<Seen<Vec<KeyRecord>>>, PoolError> {
        let part = self.pool.list(Page { after: self.after, limit: self.at_once, state: self.state }).await?;
        // A part that is not full may be followed by others: what cannot be read is left out of it.
        let Some(last) = part.value.last() else { return Ok(None) };
        self.after = Some(last.place());
        Ok(Some(part))
    }
}
