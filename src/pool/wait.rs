//! Waiting for a key: callers who would rather wait than be told that there is none, in order of arrival.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Ask, Lent, Pool, PoolError};
use crate::domain::{PoolStats, State};

/// How many callers wait on one instance, all pools together. Who comes when it is full is told so.
pub const WAITERS: usize = 1000;

/// The longest pause between two looks: what other instances give back is seen then.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What all pools of an instance share for those who wait.
#[derive(Clone)]
pub(super) struct WaitingRoom {
    places: Arc<Semaphore>,
    /// The instance stops: nobody waits any longer.
    closed: CancellationToken,
}

impl WaitingRoom {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(WAITERS)), closed: CancellationToken::new() }
    }

    pub(super) fn occupied(&self) -> usize {
        WAITERS - self.places.available_permits()
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
    }
}

/// Those who wait for a key of one pool.
#[derive(Default)]
pub(super) struct Line {
    /// Who holds it looks for a key; the others stand behind, in order of arrival.
    head: Mutex<()>,
    /// A key may have become free on this instance.
    freed: Notify,
}

impl Line {
    /// Wakes the head of the line, if there is one.
    pub(super) fn freed(&self) {
        self.freed.notify_one();
    }
}

impl Pool {
    /// Lends as soon as there is a key, within `wait`; at once where none can become free.
    pub(super) async fn lease_within(&self, ask: Ask, wait: Duration) -> Result<Lent, PoolError> {
        let came = Instant::now();
        let until = came + wait;
        let room = &self.0.waiting_room;
        let _place = room.places.try_acquire().map_err(|_| PoolError::Overloaded)?;
        // A repeated request has its key already, and needs none that another one waits for.
        if ask.idempotency_key.is_some()
            && let Some(same) = self.find_same(&ask).await?
        {
            return Ok(same);
        }
        let head = tokio::select! {
            head = timeout_at(until, self.0.line.head.lock()) => head,
            () = room.closed.cancelled() => return self.none_at_last(ask, came).await,
        };
        let Ok(_head) = head else { return self.none_at_last(ask, came).await };
        loop {
            let asked = Instant::now();
            let looked = self.lease_now(&ask).await;
            let due = match &looked {
                Err(PoolError::NoUsableKey { stats, .. }) => match self.next_look(stats, asked).await? {
                    Some(due) => due,
                    None => return looked,
                },
                // Others were in the way, and go by.
                Err(PoolError::Overloaded) => LOOK_AGAIN,
                _ => return looked,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || room.closed.is_cancelled() {
                return looked;
            }
            let pause = due.clamp(Duration::from_millis(1), LOOK_AGAIN).min(left);
            tokio::select! {
                // What was given back while this one looked wakes it as well.
                _ = timeout(pause, self.0.line.freed.notified()) => {}
                () = room.closed.cancelled() => {}
            }
        }
    }

    /// How long until a key may be free; None where none can become so. What says that nobody need wait must not be
    /// older than the question: a key may have been added since.
    async fn next_look(&self, stats: &PoolStats, asked: Instant) -> Result<Option<Duration>, PoolError> {
        let due = |stats: &PoolStats| stats.next_due_at.map_or(LOOK_AGAIN, |due| due.since(stats.generated_at));
        if stats.retry_after().is_some() {
            return Ok(Some(due(stats)));
        }
        let fresh = self.recent_stats(self.deadline(), |(_, started)| started >= asked).await;
        let fresh = fresh.map_err(PoolError::nothing_lent)?;
        let can_come = fresh.keys.of(State::Usable) > 0 || fresh.retry_after().is_some();
        Ok(can_come.then(|| due(&fresh)))
    }

    /// For one who never came to the head of the line: a count that sees no usable key is a look as well; else it
    /// is looked once more.
    async fn none_at_last(&self, ask: Ask, came: Instant) -> Result<Lent, PoolError> {
        let stats = self
            .recent_stats(self.deadline(), |(_, started)| started >= came)
            .await
            .map_err(PoolError::nothing_lent)?;
        if stats.keys.of(State::Usable) == 0 {
            return Err(PoolError::NoUsableKey { pool: self.policy().name.clone(), stats: Box::new(stats) });
        }
        self.lease_now(&ask).await
    }
}
