//! Why there is no usable key, in one word: what could bring one back soonest.

use super::state::State;
use super::stats::PoolStats;

/// Why a pool has no usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhyNone {
    /// It has no keys at all.
    NoKeys,
    /// Some rest, and come back by themselves.
    Resting,
    /// Some are out on lease, and may come back.
    Leased,
    /// All that are left are spent.
    Spent,
    /// All of them are disabled or invalid.
    Disabled,
}

impl WhyNone {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NoKeys, Self::Resting, Self::Leased, Self::Spent, Self::Disabled];

    /// Why there is none in a pool with these keys.
    pub fn of(stats: &PoolStats) -> Self {
        let some = |state| stats.keys.of(state) > 0;
        match () {
            () if stats.keys.total() == 0 => Self::NoKeys,
            () if some(State::Resting) => Self::Resting,
            () if some(State::Leased) => Self::Leased,
            () if some(State::Spent) => Self::Spent,
            () => Self::Disabled,
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoKeys => "no_keys",
            Self::Resting => "resting",
            Self::Leased => "leased",
            Self::Spent => "spent",
            Self::Disabled => "disabled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::stats::{Besides, Gathering, Group};

    fn why(states: &[State]) -> WhyNone {
        let mut gathering = Gathering::new(4, Timestamp::from_millis(0));
        for &state in states {
            gathering.add(&Group {
                state,
                usage_count: Some(1),
                keys: 1,
                counted: 1,
                leased: 0,
                left: 0,
                last_used: None,
                due_at: None,
            });
        }
        WhyNone::of(&gathering.finish(Besides::default()))
    }

    #[test]
    fn it_is_what_brings_a_key_back_soonest() {
        assert_eq!(why(&[]), WhyNone::NoKeys);
        assert_eq!(why(&[State::Invalid, State::Disabled]), WhyNone::Disabled);
        assert_eq!(why(&[State::Disabled, State::Spent]), WhyNone::Spent);
        assert_eq!(why(&[State::Spent, State::Leased]), WhyNone::Leased);
        assert_eq!(why(&[State::Spent, State::Leased, State::Resting]), WhyNone::Resting);
    }
}
