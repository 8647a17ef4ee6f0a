//! What a page shows of the pools: their statistics, and what they did lately.

use serde::Serialize;
use utoipa::ToSchema;

use super::stats::PoolStatsReply;
use crate::domain::{KeyId, Policy, PoolStats, Timestamp};
use crate::pool::{Lately, Moved};

/// One event: all pools at one moment.
#[derive(Serialize, ToSchema)]
pub struct EventReply<'a> {
    /// As old as the oldest of them.
    #[schema(required)]
    pub generated_at: Option<Timestamp>,
    /// One each.
    pub pools: Vec<PoolEventReply<'a>>,
}

/// A pool, with what it did lately as far as the instance saw it.
#[derive(Serialize, ToSchema)]
pub struct PoolEventReply<'a> {
    #[serde(flatten)]
    stats: PoolStatsReply<'a>,
    /// Keys that the instance handed out in each of the last 60 minutes, the present one last.
    hand_outs_per_minute: Vec<u64>,
    /// How long the uses that are left last at the rate of the last 15 minutes; null where none went.
    #[schema(required)]
    dry_in_seconds: Option<u64>,
    /// The latest first, 20 at most.
    transitions: Vec<TransitionReply>,
}

/// Keys that went out of use, or came back.
#[derive(Serialize, ToSchema)]
struct TransitionReply {
    at: Timestamp,
    /// Null where they are several.
    #[schema(value_type = Option<KeyId>, required)]
    id: Option<String>,
    #[schema(required)]
    masked: Option<String>,
    keys: u64,
    to: &'static str,
    why: &'static str,
}

impl<'a> PoolEventReply<'a> {
    /// The pool, its stats, and what it did lately.
    pub fn new(policy: &'a Policy, stats: &PoolStats, lately: Lately) -> Self {
        Self {
            stats: PoolStatsReply::new(policy, stats),
            hand_outs_per_minute: lately.hand_outs.to_vec(),
            dry_in_seconds: lately.lasts.map(|lasts| lasts.as_secs()),
            transitions: lately.moved.into_iter().map(TransitionReply::from).collect(),
        }
    }
}

impl From<Moved> for TransitionReply {
    fn from(moved: Moved) -> Self {
        Self {
            at: moved.at,
            id: moved.key.map(|key| key.to_string()),
            masked: moved.masked,
            keys: moved.keys,
            to: moved.transition.leads_to(),
            why: moved.transition.as_str(),
        }
    }
}
