//! Transitions: what takes a key out of use, and what brings it back.

use super::state::State;

/// Why a key went out of use or came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// Its last use was counted.
    Spent,
    /// A report put it to rest.
    RateLimited,
    /// A report said that its provider gives it no more.
    Exhausted,
    /// A report said that its provider does not take it.
    Rejected,
    /// An operator disabled it.
    Disabled,
    /// An operator enabled it.
    Enabled,
    /// An operator ended its rest.
    RestEnded,
    /// An operator took its counted uses back.
    Reset,
    /// An operator took it out of the pool.
    Removed,
    /// Its line went from the key file.
    RemovedFromFile,
}

impl Transition {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Spent,
        Self::RateLimited,
        Self::Exhausted,
        Self::Rejected,
        Self::Disabled,
        Self::Enabled,
        Self::RestEnded,
        Self::Reset,
        Self::Removed,
        Self::RemovedFromFile,
    ];

    /// What the key is afterwards, as far as this alone tells.
    pub const fn leads_to(self) -> &'static str {
        match self {
            Self::Spent => State::Spent.as_str(),
            Self::RateLimited => State::Resting.as_str(),
            Self::Exhausted | Self::Rejected | Self::Disabled | Self::RemovedFromFile => State::Disabled.as_str(),
            Self::Enabled | Self::RestEnded | Self::Reset => State::Usable.as_str(),
            Self::Removed => "removed",
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spent => "spent",
            Self::RateLimited => "rate_limited",
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::RestEnded => "rest_ended",
            Self::Reset => "reset",
            Self::Removed => "removed",
            Self::RemovedFromFile => "removed_from_file",
        }
    }
}
