//! The older Flask server's replies, member by member as its clients and its bot read them.

use serde::Serialize;
use utoipa::ToSchema;

use super::stats::PoolStatsReply;
use crate::domain::{Key, Policy, PoolStats, State};

/// The answer to `/api/plantid` and `/api/healthid`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum TakenReply<'a> {
    /// A key, or what the older server says where it has none.
    Key {
        /// The secret: for the caller who is handed the key.
        #[serde(rename = "Key")]
        key: &'a str,
    },
    /// It could not be done.
    Error {
        /// What the older server says.
        error: &'static str,
    },
}

/// What stands in place of a key where there is none.
const EMPTY: &str = "File is empty";

impl<'a> TakenReply<'a> {
    /// There is no key that can be handed out.
    pub const EMPTY: Self = Self::Key { key: EMPTY };

    /// It is not known whether there is a key.
    pub const FAILED: Self = Self::Error { error: "Internal server error" };

    /// A key that was taken.
    pub const fn of(secret: &'a str) -> Self {
        Self::Key { key: secret }
    }
}

/// The statistics could not be had.
#[derive(Serialize, ToSchema)]
pub struct NoStatsReply {
    error: &'static str,
}

impl NoStatsReply {
    /// As the older server says it.
    pub const FAILED: Self = Self { error: "Error retrieving statistics" };
}

/// The answer to `/api/stats`: the older two members, and all pools beside them.
#[derive(Serialize, ToSchema)]
pub struct FlaskStatsReply<'a> {
    keys: Both<FileReply>,
    requests: Both<RequestsReply>,
    pools: Vec<PoolStatsReply<'a>>,
}

#[derive(Serialize, ToSchema)]
struct Both<T> {
    plantid: T,
    healthid: T,
}

#[derive(Serialize, ToSchema)]
struct FileReply {
    keys_available: u64,
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
struct RequestsReply {
    requests_until_rotation: u64,
}

/// What `/api/stats` answers.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum FlaskAnswerReply<'a> {
    /// The statistics.
    Stats(FlaskStatsReply<'a>),
    /// That they could not be had.
    Failed(NoStatsReply),
}

/// One of the two pools that the older server had.
pub struct FilePool<'a> {
    /// Its policy.
    pub policy: &'a Policy,
    /// Its keys.
    pub stats: &'a PoolStats,
    /// The key that the next request would get; None = none is usable.
    pub next: Option<&'a Key>,
}

impl FilePool<'_> {
    fn file(&self) -> FileReply {
        let keys_available = self.stats.keys.of(State::Usable);
        FileReply { keys_available, status: if keys_available == 0 { EMPTY } else { "Keys available" } }
    }

    fn requests(&self) -> RequestsReply {
        let uses = self.policy.uses_per_key;
        RequestsReply { requests_until_rotation: self.next.map_or(u64::from(uses), |key| key.left(uses)) }
    }
}

impl<'a> FlaskStatsReply<'a> {
    /// The two older pools, and the stats of all that the caller may see.
    pub fn new(
        plantid: &FilePool<'_>,
        healthid: &FilePool<'_>,
        pools: impl IntoIterator<Item = (&'a Policy, PoolStats)>,
    ) -> Self {
        Self {
            keys: Both { plantid: plantid.file(), healthid: healthid.file() },
            requests: Both { plantid: plantid.requests(), healthid: healthid.requests() },
            pools: pools.into_iter().map(|(policy, stats)| PoolStatsReply::new(policy, &stats)).collect(),
        }
    }
}
