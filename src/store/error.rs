//! What can go wrong with a store, by what the caller must believe afterwards.

use std::error::Error;

/// The cause of a store's failure. It is logged once, at the edge, and never sent to a caller.
pub type Cause = Box<dyn Error + Send + Sync>;

/// A store's failure.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be asked: nothing was changed.
    #[error("the store cannot be reached")]
    Away(#[source] Cause),
    /// The store was asked and its answer was lost: what was asked may or may not have happened.
    #[error("the store did not answer")]
    Unresolved(#[source] Cause),
    /// The store answered that it will not do it: nothing was changed.
    #[error("the store refused")]
    Refused(#[source] Cause),
    /// The store is not one that keylend can use; the text says why and what to do.
    #[error("{0}")]
    Unusable(String),
}

impl StoreError {
    /// The same failure for another who asked in the same step; of its causes only the text.
    pub fn same(&self) -> Self {
        let causes = |cause: &Cause| -> Cause { causes(&**cause).join(": ").into() };
        match self {
            Self::Away(cause) => Self::Away(causes(cause)),
            Self::Unresolved(cause) => Self::Unresolved(causes(cause)),
            Self::Refused(cause) => Self::Refused(causes(cause)),
            Self::Unusable(text) => Self::Unusable(text.clone()),
        }
    }

    /// The same request has a lease, on a key whose secret cannot be read here; nothing was changed.
    pub fn same_unreadable() -> Self {
        Self::Away("the request has a lease already, on a key whose secret cannot be read here".into())
    }

    /// What is known of it in one word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Unresolved(_) => "unresolved",
            Self::Refused(_) => "refused",
            Self::Unusable(_) => "unusable",
        }
    }

    /// The whole chain of causes in one line, for the log.
    pub fn chain(&self) -> String {
        causes(self).join(": ")
    }
}

/// An error and its causes, each in its own words.
fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_cause_once() {
        let error = StoreError::Away(Box::new(std::io::Error::other("connection refused")));
        assert_eq!(error.chain(), "the store cannot be reached: connection refused");
        assert_eq!(error.same().chain(), error.chain());
        assert_eq!(StoreError::Unusable("no".to_owned()).chain(), "no");
    }
}
