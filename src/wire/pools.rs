//! Pools: their policies.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Lapsed, Picks, Policy, PoolName};

/// The policies of the pools.
#[derive(Serialize, ToSchema)]
pub struct PoolsReply<'a> {
    /// One each.
    pub pools: Vec<PolicyReply<'a>>,
}

/// The policy of one pool.
#[derive(Serialize, ToSchema)]
pub struct PolicyReply<'a> {
    #[schema(value_type = PoolName)]
    name: &'a str,
    #[schema(value_type = Picks)]
    picks: &'static str,
    uses_per_key: u32,
    #[schema(value_type = Lapsed)]
    lapsed: &'static str,
    lease_ttl_seconds: u64,
    rest_seconds: u64,
    rest_cap_seconds: u64,
}

impl<'a> From<&'a Policy> for PolicyReply<'a> {
    fn from(policy: &'a Policy) -> Self {
        Self {
            name: policy.name.as_str(),
            picks: policy.picks.as_str(),
            uses_per_key: policy.uses_per_key,
            lapsed: policy.lapsed.as_str(),
            lease_ttl_seconds: policy.lease_ttl.as_secs(),
            rest_seconds: policy.rest.as_secs(),
            rest_cap_seconds: policy.rest_cap.as_secs(),
        }
    }
}
