//! Reports: a lease ends with its effect, once.

use super::desk::{Caller, Desk, Service, earliest, refuse};
use super::{Pool, PoolError, PoolInner};
use crate::domain::{LeaseId, Outcome, Report};
use crate::store::Settled;

/// The desk of those who report that they used a key. What else is reported is rare, and goes to the store alone.
pub(super) struct Uses;

impl Service for Uses {
    type Ask = LeaseId;
    /// None = the lease is gone.
    type Got = Option<Settled>;
    type Leave = ();

    const NAME: &'static str = "report";

    fn desk(pool: &PoolInner) -> &Desk<Self> {
        &pool.uses
    }

    /// Nothing is handed out, and so nothing waits for its turn.
    async fn leave(_: &Pool) {}

    /// The same lease twice is settled by the first, and gone for the second.
    fn go_together(one: &LeaseId, other: &LeaseId) -> bool {
        one != other
    }

    async fn serve(pool: &Pool, callers: Vec<Caller<Self>>, (): ()) {
        let deadline = earliest(&callers);
        let settled = match &callers[..] {
            [caller] => {
                let settled = pool.store().report(pool.policy(), &caller.ask, Report::USED);
                pool.until("report", deadline, settled).await.map(|settled| vec![settled])
            }
            callers => {
                let leases: Vec<LeaseId> = callers.iter().map(|caller| caller.ask.clone()).collect();
                pool.until("report_used", deadline, pool.store().report_used(pool.policy(), &leases)).await
            }
        };
        match settled {
            Ok(settled) => {
                pool.tell_counted(settled.iter().flatten().map(|settled| (settled.id, settled.usage_count)));
                for (caller, settled) in callers.into_iter().zip(settled) {
                    caller.answer(Ok(settled));
                }
            }
            Err(error) => refuse(callers, error),
        }
    }
}

impl Pool {
    /// Ends a lease with its effect.
    ///
    /// # Errors
    /// [`PoolError::LeaseGone`] where it was settled or has lapsed; nothing was changed.
    pub async fn report(&self, lease: &LeaseId, report: Report) -> Result<Settled, PoolError> {
        let settled = match report.outcome() {
            Outcome::Used => self.ask::<Uses>(lease.clone()).await?,
            _ => self.within_limit("report", self.store().report(self.policy(), lease, report)).await?,
        };
        let Some(settled) = settled else {
            self.0.metrics.reported_gone();
            return Err(PoolError::LeaseGone);
        };
        self.tell_reported(lease, report.outcome(), &settled);
        self.0.line.freed();
        Ok(settled)
    }
}
