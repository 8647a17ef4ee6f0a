//! The verdict: what a provider says of a key, and what that does to the key.

use std::time::Duration;

use super::key::DisabledReason;
use super::pool::Policy;
use super::record::KeyRecord;
use super::timestamp::Timestamp;

/// What a provider that was asked about a key said of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It takes the key.
    Alive {
        /// The credits that it names; None where it names none.
        credits: Option<f64>,
    },
    /// It does not take it (401, 403).
    Rejected,
    /// It takes it, and gives it no more (402).
    Exhausted,
    /// It must slow down (429).
    RateLimited {
        /// How long, where the provider says so.
        retry_after: Option<Duration>,
    },
}

/// What a verdict does to its key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judgement {
    /// What a report for one of these reasons disabled is enabled; nothing else is.
    Enable(&'static [DisabledReason]),
    /// It is disabled, where it was active.
    Disable(DisabledReason),
    /// It rests for this long from now, or longer where it already does.
    Rest(Duration),
}

impl Verdict {
    /// The word on the wire, in the store and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive { .. } => "alive",
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::RateLimited { .. } => "rate_limited",
        }
    }

    /// The words of all verdicts.
    pub const WORDS: [&'static str; 4] = ["alive", "rejected", "exhausted", "rate_limited"];

    /// The credits that the provider named.
    pub const fn credits(self) -> Option<f64> {
        match self {
            Self::Alive { credits } => credits,
            Self::Rejected | Self::Exhausted | Self::RateLimited { .. } => None,
        }
    }

    /// What it does under `policy`.
    pub fn judgement(self, policy: &Policy) -> Judgement {
        match self {
            // A provider that takes a key and names no credits on it would exhaust it again at its next use.
            Self::Alive { credits: Some(credits) } if credits <= 0.0 => Judgement::Enable(&[DisabledReason::Rejected]),
            Self::Alive { .. } => Judgement::Enable(&[DisabledReason::Rejected, DisabledReason::Exhausted]),
            Self::Rejected => Judgement::Disable(DisabledReason::Rejected),
            Self::Exhausted => Judgement::Disable(DisabledReason::Exhausted),
            Self::RateLimited { retry_after } => {
                Judgement::Rest(retry_after.unwrap_or(policy.rest).min(policy.rest_cap))
            }
        }
    }

    /// Applies it to a key at `now`. This is the one truth: what the stores change is tested against it.
    pub fn apply(self, policy: &Policy, record: &mut KeyRecord, now: Timestamp) {
        let key = &mut record.key;
        match self.judgement(policy) {
            Judgement::Enable(reasons) => {
                if !key.is_active && record.disabled_reason.is_some_and(|reason| reasons.contains(&reason)) {
                    (key.is_active, record.disabled_reason) = (true, None);
                }
            }
            Judgement::Disable(reason) => {
                if key.is_active {
                    (key.is_active, record.disabled_reason) = (false, Some(reason));
                }
            }
            Judgement::Rest(rest) => key.resting_until = key.resting_until.max(Some(now.plus(rest))),
        }
        record.verified = Some(Verified {
            at: now,
            verdict: self.as_str(),
            // What is left was named by an earlier answer, where this one names nothing.
            credits: self.credits().or(record.verified.and_then(|before| before.credits)),
        });
    }
}

/// What is kept of the last verdict on a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verified {
    /// When the provider was asked, by the store's clock.
    pub at: Timestamp,
    /// The word of its verdict.
    pub verdict: &'static str,
    /// The credits that it named last; None where it never did.
    pub credits: Option<f64>,
}

impl Verified {
    /// Of what is stored; None where it is nothing that was stored for a verdict.
    pub fn of(at: Option<Timestamp>, verdict: Option<&str>, credits: Option<f64>) -> Option<Self> {
        let verdict = Verdict::WORDS.into_iter().find(|word| Some(*word) == verdict)?;
        Some(Self { at: at?, verdict, credits: credits.filter(|credits| credits.is_finite()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Key, KeyId, Secret, UsageCount};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn record(is_active: bool, disabled_reason: Option<DisabledReason>) -> KeyRecord {
        let key = Key {
            id: KeyId::from_bytes([7; 12]),
            secret: Secret::parse("sk-1").ok(),
            usage_count: UsageCount::Whole(2),
            last_used: None,
            is_active,
            open_leases: Some(0),
            first_lease_ends_at: None,
            resting_until: Some(Timestamp::from_millis(1_050_000)),
        };
        KeyRecord {
            key,
            order: None,
            leases: Vec::new(),
            disabled_reason,
            note: None,
            added_at: None,
            from_file: false,
            verified: None,
            sealed_by: None,
        }
    }

    fn judged(verdict: Verdict, is_active: bool, reason: Option<DisabledReason>) -> KeyRecord {
        let [policy, ..] = Policy::built_in();
        let mut record = record(is_active, reason);
        verdict.apply(&policy, &mut record, NOW);
        record
    }

    #[test]
    fn alive_enables_what_a_report_disabled_and_nothing_else() {
        for reason in DisabledReason::ALL {
            for (credits, enabled) in [
                (None, reason.is_of_report()),
                (Some(0.5), reason.is_of_report()),
                (Some(0.0), reason == DisabledReason::Rejected),
            ] {
                let after = judged(Verdict::Alive { credits }, false, Some(reason));
                assert_eq!((after.key.is_active, after.disabled_reason.is_none()), (enabled, enabled), "{reason:?}");
                assert_eq!(after.verified, Some(Verified { at: NOW, verdict: "alive", credits }));
            }
        }
        // Who switched it off without a reason was another program.
        assert!(!judged(Verdict::Alive { credits: None }, false, None).key.is_active);
    }

    #[test]
    fn only_an_active_key_is_disabled() {
        for (verdict, reason) in
            [(Verdict::Rejected, DisabledReason::Rejected), (Verdict::Exhausted, DisabledReason::Exhausted)]
        {
            let after = judged(verdict, true, None);
            assert_eq!((after.key.is_active, after.disabled_reason), (false, Some(reason)));
            let after = judged(verdict, false, Some(DisabledReason::Operator));
            assert_eq!(after.disabled_reason, Some(DisabledReason::Operator));
        }
    }

    #[test]
    fn a_rest_is_capped_and_never_shortened() {
        let until = |seconds: Option<u64>| {
            let verdict = Verdict::RateLimited { retry_after: seconds.map(Duration::from_secs) };
            judged(verdict, true, None).key.resting_until.map(Timestamp::as_millis)
        };
        assert_eq!(until(Some(1)), Some(1_050_000));
        assert_eq!(until(None), Some(1_060_000));
        assert_eq!(until(Some(90_000)), Some(4_600_000));
    }

    #[test]
    fn credits_that_were_named_stay_known() {
        let [policy, ..] = Policy::built_in();
        let mut record = record(true, None);
        Verdict::Alive { credits: Some(7.5) }.apply(&policy, &mut record, NOW);
        Verdict::Rejected.apply(&policy, &mut record, NOW);
        assert_eq!(record.verified, Some(Verified { at: NOW, verdict: "rejected", credits: Some(7.5) }));
    }

    #[test]
    fn what_nobody_stored_for_a_verdict_is_none() {
        let of = |verdict, credits| Verified::of(Some(NOW), verdict, credits);
        assert!(of(Some("alive"), Some(f64::NAN)).is_some_and(|verified| verified.credits.is_none()));
        assert_eq!((of(None, None), of(Some("fine"), None)), (None, None));
        assert_eq!(Verified::of(None, Some("alive"), None), None);
    }
}
