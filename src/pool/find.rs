//! Finding: the key to use next, stamped, neither reserved nor counted.

use tokio::time::Instant;

use super::desk::{Caller, Desk, Service, Turn, earliest, refuse};
use super::{Pool, PoolError, PoolInner};
use crate::domain::Key;
use crate::metrics::HandOut;
use crate::store::{FoundKey, Seen};

/// The desk of those who find a usable key; each asks with the uses that a key may give.
pub(super) struct Finds;

impl Service for Finds {
    type Ask = u32;
    type Got = FoundKey;
    type Leave = Turn;

    const NAME: &'static str = "find";

    fn desk(pool: &PoolInner) -> &Desk<Self> {
        &pool.finds
    }

    async fn leave(pool: &Pool) -> Turn {
        pool.turn().await
    }

    fn go_together(one: &u32, other: &u32) -> bool {
        one == other
    }

    async fn serve(pool: &Pool, mut callers: Vec<Caller<Self>>, turn: Turn) {
        let deadline = earliest(&callers);
        let Some(uses_per_key) = callers.first().map(|first| first.ask) else { return };
        let found = pool.look(uses_per_key, deadline, || async {
            let found = match callers.len() {
                1 => {
                    let found = pool.store().find_usable_key(pool.policy(), uses_per_key);
                    pool.until("find_usable_key", deadline, found).await?.into_iter().collect()
                }
                many => {
                    let found = pool.store().find_all(pool.policy(), uses_per_key, many);
                    pool.until("find_all", deadline, found).await?
                }
            };
            Ok((!found.is_empty()).then_some(found))
        });
        let found = match found.await {
            Ok(found) => found,
            // A stamp that nobody knows of does no harm: nothing is resolved.
            Err(error) => return refuse(callers, error),
        };
        drop(turn);
        let again = callers.split_off(callers.len().min(found.len()));
        for (caller, found) in callers.into_iter().zip(found) {
            // Another limit than the pool's own is about other keys than those that go next.
            if uses_per_key == pool.policy().uses_per_key {
                caller.span.in_scope(|| pool.tell_handed_out(found.id));
            }
            caller.answer(Ok(found));
        }
        pool.0.finds.go_again(again);
    }
}

impl Pool {
    /// The key to use next, where keys with at most `max_uses` uses counted or out on lease are taken; the pool's
    /// own limit where None. Stamped, neither reserved nor counted.
    ///
    /// # Errors
    /// [`PoolError::NoUsableKey`] after a look that could have found one.
    pub async fn find_usable_key(&self, max_uses: Option<u32>) -> Result<FoundKey, PoolError> {
        self.check_resolved()?;
        let came = Instant::now();
        let found = self.ask::<Finds>(self.uses_up_to(max_uses)).await;
        self.measure_empty(self.measure(came, found, |_| HandOut::Find))
    }

    /// The key that [`Pool::find_usable_key`] would choose, left as it is; None = no key is usable.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn peek_usable_key(&self, max_uses: Option<u32>) -> Result<Option<Seen<Key>>, PoolError> {
        self.within_limit("peek_usable_key", self.store().peek_usable_key(self.policy(), self.uses_up_to(max_uses)))
            .await
    }

    /// How many uses a key may give, where it may have had so many before.
    fn uses_up_to(&self, max_uses: Option<u32>) -> u32 {
        max_uses.map_or(self.policy().uses_per_key, |max_uses| max_uses.saturating_add(1))
    }
}
