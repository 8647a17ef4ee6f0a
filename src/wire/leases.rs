//! Leases: what one is asked, answered, reported and renewed with.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::whole::Whole;
use crate::domain::lease::InvalidTtl;
use crate::domain::report::InvalidReport;
use crate::domain::{KeyId, LeaseId, OpenLease, Outcome, PoolName, Report, Secret, State, Timestamp, Ttl, UsageCount};
use crate::pool::Lent;
use crate::store::Settled;

/// The body of a lease; every field, and the body itself, can be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseBody {
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 3600)]
    ttl_seconds: Option<Whole>,
}

impl LeaseBody {
    /// The body that is expected, for people.
    pub const EXPECTED: &'static str = r#"{"ttl_seconds": 300} or nothing"#;

    /// How long the lease should last; None = as the pool says.
    ///
    /// # Errors
    /// Where the number is not from 1 to 3,600.
    pub fn ttl(&self) -> Result<Option<Duration>, InvalidTtl> {
        self.ttl_seconds.map(|Whole(seconds)| Ttl::from_seconds(seconds).map(Ttl::duration)).transpose()
    }
}

/// The answer to a lease.
#[derive(Serialize, ToSchema)]
pub struct LeaseReply<'a> {
    #[schema(value_type = LeaseId)]
    lease_id: String,
    #[schema(value_type = PoolName)]
    pool: &'a str,
    #[schema(value_type = KeyId)]
    id: String,
    #[schema(value_type = Secret)]
    api_key: &'a str,
    usage_count: u64,
    expires_at: Timestamp,
}

impl<'a> LeaseReply<'a> {
    /// Shows the secret: for the caller who is handed the key.
    pub fn new(lent: &'a Lent) -> Self {
        let key = lent.key();
        Self {
            lease_id: lent.lease().expose(),
            pool: lent.lease().pool.as_str(),
            id: key.id.to_string(),
            api_key: key.secret.expose(),
            usage_count: key.usage_count,
            expires_at: key.expires_at,
        }
    }
}

/// The body of a report.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportBody {
    outcome: String,
    retry_after_seconds: Option<Whole>,
}

impl ReportBody {
    /// The body that is expected, for people.
    pub const EXPECTED: &'static str = r#"{"outcome": "used"}, one of used, unused, rate_limited, exhausted, rejected"#;

    /// The report that is meant.
    ///
    /// # Errors
    /// Where the outcome is none of the five, or a hint comes with one that has no use for it.
    pub fn report(&self) -> Result<Report, InvalidReport> {
        let outcome: Outcome = self.outcome.parse()?;
        Report::new(outcome, self.retry_after_seconds.map(|Whole(seconds)| Duration::from_secs(seconds)))
    }
}

/// The answer to a report: the key as it is afterwards.
#[derive(Serialize, ToSchema)]
pub struct ReportReply {
    #[schema(value_type = KeyId)]
    id: String,
    usage_count: UsageCount,
    #[schema(value_type = State)]
    state: &'static str,
}

impl From<Settled> for ReportReply {
    fn from(settled: Settled) -> Self {
        Self { id: settled.id.to_string(), usage_count: settled.usage_count, state: settled.state.as_str() }
    }
}

/// The body of a renewal.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewBody {
    #[schema(value_type = u64, minimum = 1, maximum = 3600)]
    ttl_seconds: Whole,
}

impl RenewBody {
    /// The body that is expected, for people.
    pub const EXPECTED: &'static str = r#"{"ttl_seconds": 300}"#;

    /// How long the lease should last from now.
    ///
    /// # Errors
    /// Where the number is not from 1 to 3,600.
    pub fn ttl(&self) -> Result<Duration, InvalidTtl> {
        Ttl::from_seconds(self.ttl_seconds.0).map(Ttl::duration)
    }
}

/// The answer to a renewal.
#[derive(Serialize, ToSchema)]
pub struct RenewReply {
    /// When the lease lapses now.
    pub expires_at: Timestamp,
}

/// An open lease, without the secret of its key.
#[derive(Serialize, ToSchema)]
pub struct OpenLeaseReply<'a> {
    #[schema(value_type = PoolName)]
    pool: &'a str,
    #[schema(value_type = KeyId)]
    id: String,
    #[schema(required)]
    by: Option<String>,
    #[schema(required)]
    expires_at: Option<Timestamp>,
}

impl<'a> OpenLeaseReply<'a> {
    /// Shows the lease of this id.
    pub fn new(id: &'a LeaseId, lease: OpenLease) -> Self {
        Self { pool: id.pool.as_str(), id: id.key.to_string(), by: lease.by, expires_at: lease.expires_at }
    }
}
