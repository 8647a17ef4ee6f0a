//! The report: how a caller ends its lease, and what that does to the key.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::key::DisabledReason;
use super::pool::Policy;

/// How a leased use ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider was asked: the use counts.
    Used,
    /// It was not asked: nothing counts.
    Unused,
    /// It answered that the key must slow down: nothing counts, the key rests.
    RateLimited,
    /// It answered that nothing is left on the key: nothing counts, the key is disabled.
    Exhausted,
    /// It answered that the key is not valid: nothing counts, the key is disabled.
    Rejected,
}

impl Outcome {
    /// All outcomes, in the order of the documents.
    pub const ALL: [Self; 5] = [Self::Used, Self::Unused, Self::RateLimited, Self::Exhausted, Self::Rejected];

    /// The word on the wire and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Unused => "unused",
            Self::RateLimited => "rate_limited",
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
        }
    }
}

/// Why a report cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidReport {
    /// The outcome is none of the five.
    #[error("outcome is one of used, unused, rate_limited, exhausted, rejected")]
    UnknownOutcome,
    /// A hint came with an outcome that has no use for one.
    #[error("retry_after_seconds goes with the outcome rate_limited only")]
    HintWithoutRateLimit,
}

impl FromStr for Outcome {
    type Err = InvalidReport;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or(InvalidReport::UnknownOutcome)
    }
}

/// A report as a caller sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    outcome: Outcome,
    retry_after: Option<Duration>,
}

/// What a report does to its key, besides ending the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// One use more is counted.
    Count,
    /// Nothing.
    Nothing,
    /// The key rests for this long from now, or longer where it already does.
    Rest(Duration),
    /// The key is disabled, where it was active.
    Disable(DisabledReason),
}

impl Report {
    /// The provider was asked.
    pub const USED: Self = Self { outcome: Outcome::Used, retry_after: None };

    /// The end of a lease that was not used.
    pub const UNUSED: Self = Self { outcome: Outcome::Unused, retry_after: None };

    /// A report of `outcome`; `retry_after` is the provider's hint, with `rate_limited` only.
    ///
    /// # Errors
    /// Where a hint comes with another outcome.
    pub fn new(outcome: Outcome, retry_after: Option<Duration>) -> Result<Self, InvalidReport> {
        if retry_after.is_some() && outcome != Outcome::RateLimited {
            return Err(InvalidReport::HintWithoutRateLimit);
        }
        Ok(Self { outcome, retry_after })
    }

    /// How the use ended.
    pub const fn outcome(self) -> Outcome {
        self.outcome
    }

    /// What this report does under `policy`: a hint is capped, so that no caller can bench a key for days.
    pub fn effect(self, policy: &Policy) -> Effect {
        match self.outcome {
            Outcome::Used => Effect::Count,
            Outcome::Unused => Effect::Nothing,
            Outcome::RateLimited => Effect::Rest(self.retry_after.unwrap_or(policy.rest).min(policy.rest_cap)),
            Outcome::Exhausted => Effect::Disable(DisabledReason::Exhausted),
            Outcome::Rejected => Effect::Disable(DisabledReason::Rejected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_the_words_of_the_documents() {
        for (word, outcome) in [
            ("used", Outcome::Used),
            ("unused", Outcome::Unused),
            ("rate_limited", Outcome::RateLimited),
            ("exhausted", Outcome::Exhausted),
            ("rejected", Outcome::Rejected),
        ] {
            assert_eq!(word.parse(), Ok(outcome));
            assert_eq!(outcome.as_str(), word);
        }
        for bad in ["", "Used", "gone"] {
            assert_eq!(bad.parse::<Outcome>(), Err(InvalidReport::UnknownOutcome));
        }
    }

    #[test]
    fn only_used_counts_and_hints_are_capped() {
        let [policy, ..] = Policy::built_in();
        let hour = Duration::from_secs(3600);
        let effect = |outcome, hint| Report::new(outcome, hint).expect("valid").effect(&policy);
        assert_eq!(effect(Outcome::Used, None), Effect::Count);
        assert_eq!(effect(Outcome::Unused, None), Effect::Nothing);
        assert_eq!(effect(Outcome::RateLimited, None), Effect::Rest(policy.rest));
        assert_eq!(effect(Outcome::RateLimited, Some(Duration::from_secs(7))), Effect::Rest(Duration::from_secs(7)));
        assert_eq!(effect(Outcome::RateLimited, Some(hour * 99)), Effect::Rest(hour));
        assert_eq!(effect(Outcome::Exhausted, None), Effect::Disable(DisabledReason::Exhausted));
        assert_eq!(effect(Outcome::Rejected, None), Effect::Disable(DisabledReason::Rejected));
    }

    #[test]
    fn a_hint_goes_with_rate_limited_only() {
        let hint = Some(Duration::from_secs(1));
        for outcome in Outcome::ALL {
            let report = Report::new(outcome, hint);
            assert_eq!(report.is_ok(), outcome == Outcome::RateLimited);
            assert_eq!(Report::new(outcome, None).expect("valid").outcome(), outcome);
        }
    }
}
