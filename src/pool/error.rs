//! What a pool answers when it has nothing better.

use std::sync::Arc;

use crate::domain::{PoolName, PoolStats};
use crate::provider::GenerateError;
use crate::store::StoreError;

/// Why a pool could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// There is no pool of that name.
    #[error("there is no such pool; there are: {known}")]
    UnknownPool {
        /// The names of those there are.
        known: String,
    },
    /// The pool has no such key.
    #[error("the pool has no such key")]
    UnknownKey,
    /// The key's stored count is no number that can be counted on.
    #[error("the key's usage_count is no number")]
    InvalidKey,
    /// Another key of the pool has the new secret; nothing was changed.
    #[error("another key of the pool has this api_key")]
    KnownSecret,
    /// The lease was settled or has lapsed.
    #[error("the lease is gone")]
    LeaseGone,
    /// No key of the pool can be handed out now.
    #[error("pool {pool} has no usable key")]
    NoUsableKey {
        /// The pool.
        pool: PoolName,
        /// Why, and when the next one is due.
        stats: Box<PoolStats>,
    },
    /// Too many wait for their turn; this one's time limit passed while it did.
    #[error("too many requests wait for this pool")]
    Overloaded,
    /// The answer to an increment was lost: the use may be counted.
    #[error("the use may or may not be counted")]
    MaybeCounted(#[source] StoreError),
    /// The settings do not say how the pool's provider is asked about a key.
    #[error("pool {0} cannot verify keys: its section [pools.{0}.verify] needs url, in keylend.toml")]
    CannotVerify(PoolName),
    /// The pool's command made no key.
    #[error("{0}")]
    NotGenerated(#[source] Arc<GenerateError>),
    /// The pool's command is at it already.
    #[error("a key is being generated for this pool already")]
    Generating,
    /// The store could not be asked or did not answer.
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl PoolError {
    /// The same for a step that hands nothing out: whatever became of it, no lease can come of it.
    pub(super) fn nothing_lent(self) -> Self {
        match self {
            Self::Store(StoreError::Unresolved(cause)) => Self::Store(StoreError::Away(cause)),
            other => other,
        }
    }

    /// The same for an increment.
    pub(super) fn maybe_counted(self) -> Self {
        match self {
            Self::Store(error @ StoreError::Unresolved(_)) => Self::MaybeCounted(error),
            other => other,
        }
    }

    /// Whether something may have been done although nobody knows.
    pub(super) fn is_unresolved(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unresolved(_)))
    }

    /// The same, for another caller of the same step; of its causes only the text.
    pub(super) fn same(&self) -> Self {
        match self {
            Self::UnknownPool { known } => Self::UnknownPool { known: known.clone() },
            Self::UnknownKey => Self::UnknownKey,
            Self::InvalidKey => Self::InvalidKey,
            Self::KnownSecret => Self::KnownSecret,
            Self::LeaseGone => Self::LeaseGone,
            Self::NoUsableKey { pool, stats } => Self::NoUsableKey { pool: pool.clone(), stats: stats.clone() },
            Self::Overloaded => Self::Overloaded,
            Self::CannotVerify(pool) => Self::CannotVerify(pool.clone()),
            Self::NotGenerated(error) => Self::NotGenerated(Arc::clone(error)),
            Self::Generating => Self::Generating,
            Self::MaybeCounted(error) => Self::MaybeCounted(error.same()),
            Self::Store(error) => Self::Store(error.same()),
        }
    }

    /// The whole chain of causes in one line, for the log.
    pub fn chain(&self) -> String {
        match self {
            Self::Store(error) | Self::MaybeCounted(error) => error.chain(),
            other => other.to_string(),
        }
    }
}
