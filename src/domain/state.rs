//! The state of a key: derived from its fields and an instant, never stored.

use super::key::Key;
use super::timestamp::Timestamp;

/// What can be done with a key now. The first that fits holds, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its secret, its count or its leases cannot be understood: somebody else's mistake, shown and never lent.
    Invalid,
    /// Its switch is not true.
    Disabled,
    /// All its uses are counted.
    Spent,
    /// It is not handed out until an instant.
    Resting,
    /// All that is left of it is out on lease.
    Leased,
    /// It can be handed out.
    Usable,
}

impl State {
    /// All states, in the order in which they are looked for.
    pub const ALL: [Self; 6] = [Self::Invalid, Self::Disabled, Self::Spent, Self::Resting, Self::Leased, Self::Usable];

    /// The state of this word; None for another text.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Disabled => "disabled",
            Self::Spent => "spent",
            Self::Resting => "resting",
            Self::Leased => "leased",
            Self::Usable => "usable",
        }
    }
}

/// The state of `key` at `now`, where one key gives `uses_per_key` uses.
///
/// This is the one truth: the filters of the stores are tested against it.
pub fn state(key: &Key, uses_per_key: u32, now: Timestamp) -> State {
    let (Some(_), Some(count), Some(_)) = (&key.secret, key.usage_count.whole(), key.open_leases) else {
        return State::Invalid;
    };
    if !key.is_active {
        State::Disabled
    } else if count >= u64::from(uses_per_key) {
        State::Spent
    } else if key.resting_until.is_some_and(|until| until > now) {
        State::Resting
    } else if key.left(uses_per_key) == 0 {
        State::Leased
    } else {
        State::Usable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{KeyId, Secret, UsageCount};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn key(count: u64, open: u64) -> Key {
        Key {
            id: KeyId::from_bytes([1; 12]),
            secret: Secret::parse("sk-1").ok(),
            usage_count: UsageCount::Whole(count),
            last_used: None,
            is_active: true,
            open_leases: Some(open),
            first_lease_ends_at: None,
            resting_until: None,
        }
    }

    #[test]
    fn the_first_state_that_fits_holds() {
        let later = Some(Timestamp::from_millis(1_000_001));
        let rows = [
            (State::Usable, key(0, 0)),
            (State::Usable, key(3, 0)),
            (State::Usable, key(0, 3)),
            (State::Usable, Key { resting_until: Some(NOW), ..key(3, 0) }),
            (State::Leased, key(3, 1)),
            (State::Leased, key(0, 4)),
            (State::Leased, key(0, 5)),
            (State::Resting, Key { resting_until: later, ..key(0, 0) }),
            (State::Resting, Key { resting_until: later, ..key(3, 1) }),
            (State::Spent, key(4, 0)),
            (State::Spent, key(5, 0)),
            (State::Spent, Key { resting_until: later, ..key(4, 1) }),
            (State::Disabled, Key { is_active: false, resting_until: later, ..key(4, 1) }),
            (State::Invalid, Key { secret: None, is_active: false, ..key(0, 0) }),
            (State::Invalid, Key { usage_count: UsageCount::Odd(0.7), is_active: false, ..key(0, 0) }),
            (State::Invalid, Key { usage_count: UsageCount::NotANumber, ..key(0, 0) }),
            (State::Invalid, Key { open_leases: None, is_active: false, ..key(0, 0) }),
        ];
        for (expected, key) in rows {
            assert_eq!(state(&key, 4, NOW), expected, "{key:?}");
        }
    }

    #[test]
    fn states_have_the_words_of_the_documents() {
        assert_eq!(State::ALL.map(State::as_str), ["invalid", "disabled", "spent", "resting", "leased", "usable"]);
    }

    proptest! {
        #[test]
        fn a_usable_key_always_has_a_use_left(count in 0u64..12, open in 0u64..12, uses in 1u32..10, active: bool, rest in 999_990i64..1_000_010) {
            let key = Key { is_active: active, resting_until: Some(Timestamp::from_millis(rest)), ..key(count, open) };
            let usable = state(&key, uses, NOW) == State::Usable;
            prop_assert_eq!(usable, active && count + open < u64::from(uses) && rest <= NOW.as_millis());
            prop_assert!(!usable || key.left(uses) > 0);
        }

        #[test]
        fn one_more_use_never_makes_a_key_more_usable(count in 0u64..12, open in 0u64..12, uses in 1u32..10) {
            let usable = |count, open| state(&key(count, open), uses, NOW) == State::Usable;
            prop_assert!(usable(count, open) || !usable(count + 1, open));
            prop_assert!(usable(count, open) || !usable(count, open + 1));
        }
    }
}
