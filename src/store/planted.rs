//! Bugs that are built in on purpose, to show that `tests/checker` finds them. Only a build with the feature `planted` has
//! any, and it has the one that `KEYLEND_PLANTED` names.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A step for many callers hands out what was proposed to it, usable or not.
    GuardDropped,
    /// A report leaves its lease open.
    SettledTwice,
    /// A request that is repeated takes a use off its key's count.
    LostOnRetry,
    /// A lease that has lapsed holds no use any more, settled or not.
    LapsedIsFree,
    /// Candidates are good for ever.
    OldCandidates,
}

/// Whether this build has it.
#[cfg(feature = "planted")]
pub(super) fn has(bug: Bug) -> bool {
    static PLANTED: std::sync::LazyLock<Option<Bug>> =
        std::sync::LazyLock::new(|| match std::env::var("KEYLEND_PLANTED").ok()?.as_str() {
            "guard-dropped" => Some(Bug::GuardDropped),
            "settled-twice" => Some(Bug::SettledTwice),
            "lost-on-retry" => Some(Bug::LostOnRetry),
            "lapsed-is-free" => Some(Bug::LapsedIsFree),
            "old-candidates" => Some(Bug::OldCandidates),
            other => panic!("KEYLEND_PLANTED names no bug: {other}"),
        });
    *PLANTED == Some(bug)
}

/// Whether this build has it: none.
#[cfg(not(feature = "planted"))]
pub(super) const fn has(_: Bug) -> bool {
    false
}
