//! A desk: callers who want the same stand in line, and as many as the store can serve in one step go together.
//!
//! While one step is at the store, those who come wait, and go with the next one. So a crowd costs a step for each
//! batch of it, and a lone caller waits for nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span};

use super::{Pool, PoolError, PoolInner};
use crate::store::StoreError;

/// The most callers that go together.
pub(super) const TOGETHER: usize = 64;

/// What is handed out at a desk.
pub(super) trait Service: Sized + Send + 'static {
    /// What a caller asks for.
    type Ask: Send + Sync + 'static;
    /// What it gets.
    type Got: Send + 'static;
    /// What must be had before the store is asked: a [`Turn`] where keys are handed out.
    type Leave: Send;

    /// The name of the desk, for those who monitor it.
    const NAME: &'static str;

    /// The desk of the pool.
    fn desk(pool: &PoolInner) -> &Desk<Self>;

    /// Waits until the store may be asked.
    fn leave(pool: &Pool) -> impl Future<Output = Self::Leave> + Send;

    /// Whether two may be asked of the store in one step.
    fn go_together(one: &Self::Ask, other: &Self::Ask) -> bool;

    /// Serves these callers, one at least. Whoever gets nothing although there is something to get goes to the front
    /// of the line again.
    fn serve(pool: &Pool, callers: Vec<Caller<Self>>, leave: Self::Leave) -> impl Future<Output = ()> + Send;
}

/// Who holds it hands out. One at a time: so an instance has at most one hand-out of a pool under way whose answer can
/// be lost, and a stalled store does not burn the pool.
pub(super) type Turn = OwnedMutexGuard<()>;

/// One who stands in line.
pub(super) struct Caller<S: Service> {
    pub(super) ask: S::Ask,
    /// When its time limit passes.
    pub(super) deadline: Instant,
    /// Until when it waits for its turn.
    patience: Instant,
    /// The caller's request, to which belongs what is logged on the way.
    pub(super) span: Span,
    ticket: u64,
    reply: oneshot::Sender<Result<S::Got, PoolError>>,
}

impl<S: Service> Caller<S> {
    /// Answers it. What a caller who has left would have got is dropped.
    pub(super) fn answer(self, got: Result<S::Got, PoolError>) {
        let _ = self.reply.send(got);
    }
}

/// The line of one desk.
pub(super) struct Desk<S: Service>(Mutex<Line<S>>);

struct Line<S: Service> {
    waiting: VecDeque<Caller<S>>,
    /// A task serves the line until it is empty.
    is_served: bool,
    next_ticket: u64,
}

impl<S: Service> Default for Desk<S> {
    fn default() -> Self {
        Self(Mutex::new(Line { waiting: VecDeque::new(), is_served: false, next_ticket: 0 }))
    }
}

impl<S: Service> Desk<S> {
    fn line(&self) -> MutexGuard<'_, Line<S>> {
        // Nothing can be half-changed by a panic: nothing that is called under the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The callers who go next, `most` at most; none = the line is empty, and nobody serves it from here on.
    fn next(&self, most: usize) -> Vec<Caller<S>> {
        let mut line = self.line();
        let now = Instant::now();
        let mut next: Vec<Caller<S>> = Vec::new();
        while next.len() < most
            && let Some(caller) = line.waiting.front()
        {
            let goes = next.first().is_none_or(|first| S::go_together(&first.ask, &caller.ask));
            if !goes {
                break;
            }
            let Some(caller) = line.waiting.pop_front() else { break };
            // Nothing is reserved for one who has left.
            if caller.reply.is_closed() {
                continue;
            }
            if caller.patience <= now {
                caller.answer(Err(PoolError::Overloaded));
                continue;
            }
            next.push(caller);
        }
        line.is_served = !next.is_empty();
        next
    }

    /// These stand in front of all others, in this order.
    pub(super) fn go_again(&self, callers: Vec<Caller<S>>) {
        let mut line = self.line();
        for caller in callers.into_iter().rev() {
            line.waiting.push_front(caller);
        }
    }

    /// Takes a caller out of the line; false = it has gone to the store.
    fn leave(&self, ticket: u64) -> bool {
        let mut line = self.line();
        let place = line.waiting.iter().position(|caller| caller.ticket == ticket);
        place.is_some_and(|place| line.waiting.remove(place).is_some())
    }
}

/// Serves a line. However it ends, the next caller starts it anew.
struct Serving<'a, S: Service> {
    desk: &'a Desk<S>,
    is_done: bool,
}

impl<S: Service> Drop for Serving<'_, S> {
    fn drop(&mut self) {
        // Once the line is empty another one may serve it already.
        if !self.is_done {
            self.desk.line().is_served = false;
        }
    }
}

/// The deadline of all of them together.
pub(super) fn earliest<S: Service>(callers: &[Caller<S>]) -> Instant {
    callers.iter().map(|caller| caller.deadline).min().unwrap_or_else(Instant::now)
}

/// Answers all of them with this.
pub(super) fn refuse<S: Service>(callers: Vec<Caller<S>>, error: PoolError) {
    let mut callers = callers.into_iter();
    let first = callers.next();
    for caller in callers {
        caller.answer(Err(error.same()));
    }
    // The original, with its whole cause.
    if let Some(first) = first {
        first.answer(Err(error));
    }
}

impl Pool {
    /// Waits for the turn to hand out.
    pub(super) async fn turn(&self) -> Turn {
        self.0.turn.clone().lock_owned().await
    }

    /// Asks at a desk: half of the time limit at most goes into waiting for the turn, for the other half is the
    /// store's. A store that is asked with hardly any time left would seem to have lost its answer.
    pub(super) async fn ask<S: Service>(&self, ask: S::Ask) -> Result<S::Got, PoolError> {
        let (reply, mut answer) = oneshot::channel();
        let came = Instant::now();
        let patience = came + self.0.time_limit / 2;
        let deadline = came + self.0.time_limit;
        let desk = S::desk(&self.0);
        let (ticket, start) = {
            let mut line = desk.line();
            let ticket = line.next_ticket;
            line.next_ticket += 1;
            line.waiting.push_back(Caller { ask, deadline, patience, span: Span::current(), ticket, reply });
            (ticket, !std::mem::replace(&mut line.is_served, true))
        };
        if start {
            // A task of its own: a caller who leaves cannot stop a hand-out half-way.
            self.0.settling.spawn(serve::<S>(self.clone()));
        }
        let stopping = |_| Err(PoolError::Store(StoreError::Away("the instance is stopping".into())));
        match timeout_at(patience, &mut answer).await {
            Ok(answer) => answer.unwrap_or_else(stopping),
            Err(_) if desk.leave(ticket) => Err(PoolError::Overloaded),
            Err(_) => match answer.await {
                Ok(answer) => answer,
                Err(_) => Err(PoolError::Overloaded),
            },
        }
    }
}

/// Serves the line until it is empty.
async fn serve<S: Service>(pool: Pool) {
    let desk = S::desk(&pool.0);
    let mut serving = Serving { desk, is_done: false };
    while !serving.is_done {
        let leave = S::leave(&pool).await;
        let callers = desk.next(pool.0.together);
        match callers.first().map(|first| first.span.clone()) {
            Some(span) => {
                pool.0.metrics.together(S::NAME, callers.len());
                S::serve(&pool, callers, leave).instrument(span).await;
            }
            None => serving.is_done = true,
        }
    }
}
