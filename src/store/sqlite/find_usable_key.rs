//! find_usable_key: pick and stamp, reserve nothing.

use super::pick::{pick, pick_some, stamp};
use super::{FoundKey, Seen, Step, look_up::look_up};
use crate::domain::{Key, KeyRef, Picks, Policy};

pub(super) fn find_usable_key(step: &Step<'_>, pool: &Policy, uses_per_key: u32) -> rusqlite::Result<Option<FoundKey>> {
    pick(step, pool, uses_per_key)?.map(|picked| stamp(step, pool, picked)).transpose()
}

/// As one find after another: each stamps its key, which then goes last.
pub(super) fn find_all(
    step: &Step<'_>,
    pool: &Policy,
    uses_per_key: u32,
    callers: usize,
) -> rusqlite::Result<Vec<FoundKey>> {
    let mut found = Vec::with_capacity(callers);
    while found.len() < callers {
        // The first key of an `in_order` pool stays the first.
        let wanted = if pool.picks == Picks::InOrder { 1 } else { callers - found.len() };
        let picked = pick_some(step, pool, uses_per_key, wanted)?;
        if picked.is_empty() {
            break;
        }
        for picked in picked {
            found.push(stamp(step, pool, picked)?);
        }
    }
    Ok(found)
}

pub(super) fn peek_usable_key(
    step: &Step<'_>,
    pool: &Policy,
    uses_per_key: u32,
) -> rusqlite::Result<Option<Seen<Key>>> {
    match pick(step, pool, uses_per_key)? {
        Some(picked) => look_up(step, pool, &KeyRef::Id(picked.id)),
        None => Ok(None),
    }
}
