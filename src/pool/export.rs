//! Export: all keys of a pool with their secrets, part by part, so that an import gives the same pool back.

use super::{Pool, PoolError, Walk};
use crate::domain::{KeyRecord, Lapsed, NewKey, Policy};
use crate::store::InvalidKey;

/// How many keys are read from the store at a time.
const PART: u32 = 1000;

/// How many invalid documents the end names.
pub const LISTED: u32 = 1000;

/// One part of an export.
pub enum Part {
    /// Keys, in the order of their places.
    Keys(Vec<NewKey>),
    /// There are no more: the last part.
    End(Ending),
}

/// What an export ends with.
pub struct Ending {
    /// Keys exported.
    pub exported: u64,
    /// Documents that are no keys and were left out.
    pub invalid: u64,
    /// The first 1,000 of them, each with its reasons.
    pub invalid_keys: Vec<InvalidKey>,
}

/// Reads a pool part by part, while it is in use: a key is exported as it is when its part is read.
pub struct Export {
    pool: Pool,
    keys: Walk,
    exported: u64,
    ended: bool,
}

impl Export {
    /// An export of `pool`.
    pub fn new(pool: &Pool) -> Self {
        Self { pool: pool.clone(), keys: pool.walk(PART), exported: 0, ended: false }
    }

    /// The next part; None after the last one.
    ///
    /// # Errors
    /// Where the store does not answer: the export is not whole.
    pub async fn next(&mut self) -> Result<Option<Part>, PoolError> {
        if self.ended {
            return Ok(None);
        }
        let Some(part) = self.keys.next().await? else {
            self.ended = true;
            let found = self.pool.examine(LISTED).await?;
            let ending = Ending { exported: self.exported, invalid: found.invalid, invalid_keys: found.invalid_keys };
            return Ok(Some(Part::End(ending)));
        };
        let keys: Vec<NewKey> =
            part.value.into_iter().filter_map(|record| exported(record, self.pool.policy())).collect();
        self.exported += keys.len() as u64;
        Ok(Some(Part::Keys(keys)))
    }
}

/// The key as it is to be added again; None where it is invalid. Its open leases cannot be taken over: they count as
/// uses, as they would if nobody reported them, and in a refund pool not at all.
fn exported(record: KeyRecord, policy: &Policy) -> Option<NewKey> {
    let key = record.key;
    let open = match policy.lapsed {
        Lapsed::Count => key.open_leases?,
        Lapsed::Refund => key.open_leases.map(|_| 0)?,
    };
    Some(NewKey {
        secret: key.secret?,
        id: Some(key.id),
        usage_count: key.usage_count.whole()?.saturating_add(open).min(crate::domain::key::MAX_USAGE_COUNT),
        last_used: key.last_used,
        is_active: key.is_active,
        resting_until: key.resting_until,
        disabled_reason: record.disabled_reason,
        note: record.note,
        added_at: record.added_at,
        from_file: record.from_file,
    })
}
