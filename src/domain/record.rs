//! A key as operators see and make it: besides what lending needs, its leases, its reason, its note.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::key::{DisabledReason, Key, KeyId, MAX_USAGE_COUNT, UsageCount};
use super::secret::Secret;
use super::timestamp::Timestamp;
use super::verdict::Verified;

/// The longest note that an operator can write, in characters.
pub const MAX_NOTE: usize = 1000;

/// An open lease as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLease {
    /// The name of the token that has it; empty without tokens. None where the entry has no text there.
    pub by: Option<String>,
    /// When it lapses; None where the entry has no instant there.
    pub expires_at: Option<Timestamp>,
}

/// A key with all that is stored of it. What other programs left in another shape than ours is None.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// What lending needs.
    pub key: Key,
    /// Its place in an `in_order` pool.
    pub order: Option<i64>,
    /// Its open leases, lapsed or not.
    pub leases: Vec<OpenLease>,
    /// Why it is disabled.
    pub disabled_reason: Option<DisabledReason>,
    /// An operator's own words.
    pub note: Option<String>,
    /// When it was added.
    pub added_at: Option<Timestamp>,
    /// Whether it stands in the pool's key file: it is withdrawn when its line goes.
    pub from_file: bool,
    /// What its provider said of it last; None = it was never asked, or not with this secret.
    pub verified: Option<Verified>,
    /// The name of the key that its secret is encrypted with; None = it is not.
    pub sealed_by: Option<String>,
}

impl KeyRecord {
    /// Where a list goes on after this key.
    pub fn place(&self) -> Place {
        Place { order: self.order, id: self.key.id }
    }
}

/// A place in the list of a pool: by id, in an `in_order` pool by `order` and then id. As text `id` or `order.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// None in a pool without order, and for a key that has none: those come first.
    pub order: Option<i64>,
    /// The key.
    pub id: KeyId,
}

/// The text is no place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the cursor is the next_cursor of an answer, as it is")]
pub struct InvalidPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.order {
            Some(order) => write!(f, "{order}.{}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (order, id) = match text.split_once('.') {
            Some((order, id)) => (Some(order.parse().map_err(|_| InvalidPlace)?), id),
            None => (None, text),
        };
        Ok(Self { order, id: id.parse().map_err(|_| InvalidPlace)? })
    }
}

/// A key to add.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its secret.
    pub secret: Secret,
    /// The id that it had before; None = a new one.
    pub id: Option<KeyId>,
    /// Uses counted.
    pub usage_count: u64,
    /// When it was last used; None = never.
    pub last_used: Option<Timestamp>,
    /// Its switch.
    pub is_active: bool,
    /// The end of its rest; None = none.
    pub resting_until: Option<Timestamp>,
    /// Why it is disabled.
    pub disabled_reason: Option<DisabledReason>,
    /// An operator's own words.
    pub note: Option<String>,
    /// When it was added; None = now.
    pub added_at: Option<Timestamp>,
    /// Whether the pool's key file brings it.
    pub from_file: bool,
}

impl NewKey {
    /// A fresh key of this secret.
    pub fn fresh(secret: Secret) -> Self {
        Self {
            secret,
            id: None,
            usage_count: 0,
            last_used: None,
            is_active: true,
            resting_until: None,
            disabled_reason: None,
            note: None,
            added_at: None,
            from_file: false,
        }
    }

    /// A fresh key that the pool's key file brings.
    pub fn of_file(secret: Secret) -> Self {
        Self { from_file: true, ..Self::fresh(secret) }
    }
}

/// What an operator changes of a key; None = left as it is.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// Switches it on, its reason gone; or off, with the reason `operator`. One that was withdrawn with its line is
    /// from then on no longer of the key file.
    pub is_active: Option<bool>,
    /// Sets the count.
    pub usage_count: Option<u64>,
    /// Ends its rest, or sets one.
    pub rest: Option<Rest>,
    /// Writes the note; Some(None) takes it away.
    pub note: Option<Option<String>>,
    /// Gives it another secret, with which it starts afresh: count 0 unless given here, rest ended, a report's
    /// disabling ended, open leases dropped, never verified, no longer of a key file. The one that it has already is no other: so a
    /// change can be repeated.
    pub secret: Option<Secret>,
}

impl KeyChange {
    /// Whether nothing is changed.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self { is_active: None, usage_count: None, rest: None, note: None, secret: None })
    }

    /// The names of the fields that are changed.
    pub fn fields(&self) -> Vec<&'static str> {
        let fields = [
            ("is_active", self.is_active.is_some()),
            ("usage_count", self.usage_count.is_some()),
            ("resting_until", self.rest.is_some()),
            ("note", self.note.is_some()),
            ("api_key", self.secret.is_some()),
        ];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }

    /// The count that is set, where there is one; never more than a count can be.
    pub fn count(&self) -> Option<u64> {
        self.usage_count.map(|count| count.min(MAX_USAGE_COUNT))
    }

    /// Changes a key at `now`. This is the one truth: what the stores change is tested against it.
    pub fn apply(&self, record: &mut KeyRecord, now: Timestamp) {
        let key = &mut record.key;
        if let Some(secret) = &self.secret
            && key.secret.as_ref().map(Secret::expose) != Some(secret.expose())
        {
            key.secret = Some(secret.clone());
            key.usage_count = UsageCount::Whole(0);
            key.resting_until = None;
            (key.open_leases, key.first_lease_ends_at) = (Some(0), None);
            record.leases.clear();
            record.from_file = false;
            record.verified = None;
            if record.disabled_reason.is_some_and(DisabledReason::is_of_report) {
                (key.is_active, record.disabled_reason) = (true, None);
            }
        }
        if let Some(count) = self.count() {
            key.usage_count = UsageCount::Whole(count);
        }
        match self.rest {
            None => {}
            Some(Rest::End) => key.resting_until = None,
            // A longer rest is never shortened.
            Some(Rest::For(rest)) => key.resting_until = key.resting_until.max(Some(now.plus(rest))),
        }
        if let Some(is_active) = self.is_active {
            key.is_active = is_active;
            record.from_file &= !(is_active && record.disabled_reason == Some(DisabledReason::RemovedFromFile));
            record.disabled_reason = if is_active { None } else { Some(DisabledReason::Operator) };
        }
        if let Some(note) = &self.note {
            record.note.clone_from(note);
        }
    }
}

/// What an operator does to the rest of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It ends now.
    End,
    /// The key rests so long from now, or longer where it already does.
    For(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DisabledReason::{Exhausted, Operator, Rejected, RemovedFromFile};

    const NOW: Timestamp = Timestamp::from_millis(1000);

    /// A disabled key with a rest and a lease.
    fn record(disabled_reason: DisabledReason) -> KeyRecord {
        let later = Some(Timestamp::from_millis(5000));
        let key = Key {
            id: KeyId::from_bytes([7; 12]),
            secret: Secret::parse("sk-old").ok(),
            usage_count: UsageCount::Whole(2),
            last_used: Some(Timestamp::from_millis(500)),
            is_active: false,
            open_leases: Some(1),
            first_lease_ends_at: later,
            resting_until: later,
        };
        let leases = vec![OpenLease { by: None, expires_at: later }];
        let note = Some("kept".to_owned());
        let disabled_reason = Some(disabled_reason);
        KeyRecord {
            key,
            order: Some(4),
            leases,
            disabled_reason,
            note,
            added_at: None,
            from_file: true,
            verified: None,
            sealed_by: None,
        }
    }

    fn changed(change: KeyChange, mut record: KeyRecord) -> KeyRecord {
        change.apply(&mut record, NOW);
        record
    }

    #[test]
    fn another_secret_starts_afresh_and_ends_what_a_report_disabled() {
        for reason in DisabledReason::ALL {
            let secret = Secret::parse("sk-new").ok();
            let fresh = changed(KeyChange { secret, ..KeyChange::default() }, record(reason));
            let key = &fresh.key;
            assert_eq!(key.secret.as_ref().map(Secret::expose), Some("sk-new"));
            assert_eq!((key.usage_count, key.resting_until), (UsageCount::Whole(0), None));
            assert_eq!((key.open_leases, key.first_lease_ends_at, fresh.leases.len()), (Some(0), None, 0));
            let kept = matches!(reason, Operator | RemovedFromFile);
            assert_eq!((key.is_active, fresh.disabled_reason), (!kept, kept.then_some(reason)));
            assert_eq!((fresh.order, fresh.note.as_deref()), (Some(4), Some("kept")));
            assert_eq!((key.last_used, fresh.from_file), (Some(Timestamp::from_millis(500)), false));
        }
        let counted = KeyChange { secret: Secret::parse("sk-new").ok(), usage_count: Some(3), ..KeyChange::default() };
        assert_eq!(changed(counted, record(Rejected)).key.usage_count, UsageCount::Whole(3));
    }

    #[test]
    fn the_secret_that_a_key_has_starts_nothing_afresh() {
        let same = KeyChange { secret: Secret::parse("sk-old").ok(), ..KeyChange::default() };
        let before = record(Exhausted);
        assert_eq!(format!("{:?}", changed(same, before.clone())), format!("{before:?}"));
    }

    #[test]
    fn a_switch_goes_with_its_reason() {
        for reason in DisabledReason::ALL {
            let switched = |is_active| KeyChange { is_active: Some(is_active), ..KeyChange::default() };
            let on = changed(switched(true), record(reason));
            assert_eq!((on.key.is_active, on.disabled_reason), (true, None));
            // The line of that one is gone: as the file's key it would be withdrawn again.
            assert_eq!(on.from_file, reason != RemovedFromFile);
            let off = changed(switched(false), record(reason));
            assert_eq!((off.key.is_active, off.disabled_reason, off.from_file), (false, Some(Operator), true));
        }
    }

    #[test]
    fn a_rest_is_ended_or_made_longer() {
        let rested = |rest| changed(KeyChange { rest: Some(rest), ..KeyChange::default() }, record(Operator));
        let until = |rest| rested(rest).key.resting_until.map(Timestamp::as_millis);
        assert_eq!(until(Rest::End), None);
        assert_eq!(until(Rest::For(Duration::from_secs(1))), Some(5000));
        assert_eq!(until(Rest::For(Duration::from_secs(9))), Some(10_000));
    }

    #[test]
    fn a_count_is_never_more_than_a_count_can_be() {
        let change = KeyChange { usage_count: Some(u64::MAX), ..KeyChange::default() };
        assert!(!change.is_empty() && KeyChange::default().is_empty());
        assert_eq!(changed(change, record(Operator)).key.usage_count, UsageCount::Whole(MAX_USAGE_COUNT));
    }

    #[test]
    fn a_place_and_its_text_are_one_to_one() {
        let id = KeyId::from_bytes([7; 12]);
        for place in [Place { order: None, id }, Place { order: Some(-3), id }, Place { order: Some(i64::MAX), id }] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in [
            "",
            ".",
            "x",
            "1.",
            ".070707070707070707070707",
            "1.2.070707070707070707070707",
            "x.070707070707070707070707",
        ] {
            assert_eq!(bad.parse::<Place>(), Err(InvalidPlace), "{bad}");
        }
    }
}
