//! What was asked and answered, and when.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An instant, in milliseconds since 1970 by a clock that never jumps.
pub(crate) type Millis = i64;

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    at: Millis,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { started: Instant::now(), at: since.as_millis() as Millis }
    }

    pub(crate) fn now(&self) -> Millis {
        self.at + self.started.elapsed().as_millis() as Millis
    }
}

/// A pool of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pool {
    /// Least recently used, lapsed leases count.
    Counting,
    /// Least recently used, lapsed leases are given back.
    Refunding,
    /// In order, taken by the older server's route, from a file that is followed.
    Ordered,
}

impl Pool {
    pub(crate) const ALL: [Self; 3] = [Self::Counting, Self::Refunding, Self::Ordered];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counting => "stability",
            Self::Refunding => "refunding",
            Self::Ordered => "plantid",
        }
    }

    /// How many uses a key gives.
    pub(crate) const fn uses(self) -> u64 {
        match self {
            Self::Counting => 4,
            Self::Refunding => 3,
            Self::Ordered => 20,
        }
    }
}

/// How a caller says that it used its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Used,
    Unused,
    RateLimited { seconds: u32 },
    Exhausted,
    Rejected,
}

impl Outcome {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Unused => "unused",
            Self::RateLimited { .. } => "rate_limited",
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
        }
    }
}

/// What was asked. Keys are named by their secrets, leases by their ids.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Lease {
        idem: Option<String>,
    },
    Report {
        lease: String,
        outcome: Outcome,
    },
    Renew {
        lease: String,
    },
    Find,
    Take,
    Increment {
        key: String,
    },
    Switch {
        key: String,
        on: bool,
    },
    /// A line was added to the key file, or taken out.
    Line {
        key: String,
    },
    Add {
        keys: Vec<String>,
    },
    /// Keys with uses that are counted already.
    Import {
        keys: Vec<(String, u64)>,
    },
    /// An operator set the count of a key to its limit.
    Spend {
        key: String,
    },
    /// An operator ended the rest of a key.
    EndRest {
        key: String,
    },
    /// An operator took a key out of its pool for good.
    Remove {
        key: String,
    },
    /// An operator wrote a note to a key.
    Note,
}

impl Asked {
    /// How many keys were to be added.
    pub(crate) fn keys(&self) -> u64 {
        match self {
            Self::Add { keys } => keys.len() as u64,
            Self::Import { keys } => keys.len() as u64,
            _ => 0,
        }
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) enum Got {
    /// A key, under a lease where it has an id.
    Key { key: String, lease: Option<String>, usage_count: Option<u64>, expires_at: Millis },
    /// It was done.
    Done,
    /// A lease that is gone.
    Gone,
    /// Nothing was done, the answer says.
    Refused,
    /// It may have been done.
    Lost,
}

/// One request with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) pool: Pool,
    pub(crate) asked: Asked,
    pub(crate) asked_at: Millis,
    pub(crate) got: Got,
    pub(crate) got_at: Millis,
}

/// What was asked and answered of a key and its leases, in the order in which it was asked.
pub(crate) fn story(history: &[Event], of: &str) -> Vec<String> {
    let lease = |event: &'_ Event| match &event.got {
        Got::Key { key, lease: Some(lease), .. } if key == of => Some(lease.clone()),
        _ => None,
    };
    let leases: Vec<String> = history.iter().filter_map(lease).collect();
    let is_of_it = |event: &&Event| match (&event.asked, &event.got) {
        (_, Got::Key { key, .. }) if key == of => true,
        (Asked::Report { lease, .. } | Asked::Renew { lease }, _) => leases.contains(lease),
        (
            Asked::Increment { key }
            | Asked::Switch { key, .. }
            | Asked::Line { key }
            | Asked::Spend { key }
            | Asked::EndRest { key }
            | Asked::Remove { key },
            _,
        ) => key == of,
        (Asked::Add { keys }, _) => keys.iter().any(|key| key == of),
        (Asked::Import { keys }, _) => keys.iter().any(|(key, _)| key == of),
        _ => false,
    };
    let mut events: Vec<&Event> = history.iter().filter(is_of_it).collect();
    events.sort_by_key(|event| event.asked_at);
    let told = |event: &&Event| {
        let asked = match &event.asked {
            Asked::Add { .. } | Asked::Import { .. } => "its addition".to_owned(),
            asked => format!("{asked:?}"),
        };
        format!("{} to {}: {asked}: {:?}", event.asked_at, event.got_at, event.got)
    };
    events.iter().map(told).collect()
}
