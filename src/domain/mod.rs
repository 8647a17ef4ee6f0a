//! The words and rules of lending, pure: no store, no network, no clock of its own.
//!
//! Every other module speaks in these types. What a store or a caller sends is parsed into them once,
//! at the edge, so that a value of one of these types is always valid.

mod hex;
pub mod key;
pub mod key_request;
pub mod lease;
pub mod pool;
pub mod provider;
pub mod record;
pub mod report;
pub mod secret;
pub mod state;
pub mod stats;
pub mod timestamp;
pub mod token;
pub mod transition;
pub mod verdict;
pub mod why_none;

pub use key::{DisabledReason, Key, KeyId, KeyRef, UsageCount};
pub use key_request::{KeyRequest, RequestId};
pub use lease::{EntryId, IdempotencyDigest, LeaseId, Ttl};
pub use pool::{Lapsed, Picks, Policy, PoolName};
pub use provider::{Generate, Provider, Verify};
pub use record::{KeyChange, KeyRecord, NewKey, OpenLease, Place, Rest};
pub use report::{Outcome, Report};
pub use secret::Secret;
pub use state::State;
pub use stats::PoolStats;
pub use timestamp::Timestamp;
pub use token::{Role, Token, TokenSecret, Tokens};
pub use transition::Transition;
pub use verdict::{Judgement, Verdict, Verified};
pub use why_none::WhyNone;
