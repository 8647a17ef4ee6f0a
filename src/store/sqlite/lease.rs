//! lease and renew: reserve one use of the key that goes first, and let it last longer.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::OptionalExtension;

use super::pick::{Picked, pick, pick_some, stamp};
use super::{EntryId, FoundKey, LeaseAnswer, LeaseRequest, LeasedKey, Step, keep, row, settle};
use crate::domain::{KeyId, LeaseId, Picks, Policy, Secret, Timestamp};
use crate::store::planted::{self, Bug};
use crate::store::vault::NotOpened;

pub(super) fn lease(step: &Step<'_>, pool: &Policy, request: &LeaseRequest) -> rusqlite::Result<LeaseAnswer> {
    if let Some(same) = earlier(step, pool, request)? {
        return Ok(same);
    }
    match pick(step, pool, pool.uses_per_key)? {
        Some(picked) => reserve(step, pool, request, picked).map(LeaseAnswer::New),
        None => Ok(LeaseAnswer::NoUsableKey),
    }
}

/// The open lease of an earlier request with the same Idempotency-Key. One that has lapsed is settled: it no longer
/// answers for its key.
fn earlier(step: &Step<'_>, pool: &Policy, request: &LeaseRequest) -> rusqlite::Result<Option<LeaseAnswer>> {
    // Without an Idempotency-Key there is no earlier request to look for.
    if !request.is_repeatable() {
        return Ok(None);
    }
    let same = repeated(step, pool, request)?;
    if same.is_none()
        && let Some((lapsed, ..)) = same_request(step, pool, request)?
    {
        settle::lapse(step, pool, lapsed)?;
    }
    Ok(same)
}

fn reserve(step: &Step<'_>, pool: &Policy, request: &LeaseRequest, picked: Picked) -> rusqlite::Result<LeasedKey> {
    let expires_at = step.now.plus(request.ttl);
    step.tx
        .prepare_cached(
            "INSERT INTO leases (entry, collection, key, expires_at, by, idem) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            request.entry.to_string(),
            &pool.collection,
            picked.id.to_string(),
            expires_at.as_millis(),
            &request.by,
            request.is_repeatable().then(|| request.idem.as_str()),
        ))?;
    let FoundKey { id, secret, usage_count, .. } = stamp(step, pool, picked)?;
    Ok(LeasedKey { entry: request.entry, id, secret, usage_count, expires_at })
}

/// As one lease after another. What is leased goes last, so the keys that go first are told by one look; with fewer keys
/// than requests, it takes another.
pub(super) fn lease_all(
    step: &Step<'_>,
    pool: &Policy,
    requests: &[LeaseRequest],
) -> rusqlite::Result<Vec<LeaseAnswer>> {
    let mut answers: Vec<Option<LeaseAnswer>> = Vec::with_capacity(requests.len());
    let (mut new, mut twins) = (Vec::new(), Vec::new());
    let mut met = HashSet::new();
    for (number, request) in requests.iter().enumerate() {
        answers.push(None);
        if !met.insert(request.idem.as_str()) {
            twins.push(number);
        } else if let Some(same) = earlier(step, pool, request)? {
            answers[number] = Some(same);
        } else {
            new.push(number);
        }
    }
    let mut left = &new[..];
    while !left.is_empty() {
        // The first key of an `in_order` pool stays the first until it is spent.
        let wanted = if pool.picks == Picks::InOrder { 1 } else { left.len() };
        let picked = pick_some(step, pool, pool.uses_per_key, wanted)?;
        if picked.is_empty() {
            break;
        }
        let (now, later) = left.split_at(picked.len());
        for (number, picked) in now.iter().zip(picked) {
            answers[*number] = Some(LeaseAnswer::New(reserve(step, pool, &requests[*number], picked)?));
        }
        left = later;
    }
    // Those who sent the same request within this step have the lease of the first of them.
    for number in twins {
        answers[number] = repeated(step, pool, &requests[number])?;
    }
    Ok(answers.into_iter().map(|answer| answer.unwrap_or(LeaseAnswer::NoUsableKey)).collect())
}

/// The open lease that the same request got before, from here on the lease of both: who asked first can no longer
/// give it back. None also where it has lapsed. The inner answer is None where its secret cannot be read here: who asked
/// first has it all the same.
pub(super) fn find_same(
    step: &Step<'_>,
    pool: &Policy,
    request: &LeaseRequest,
) -> rusqlite::Result<Option<Option<LeasedKey>>> {
    let Some((entry, id, secret, usage_count, expires_at)) = same_request(step, pool, request)? else {
        return Ok(None);
    };
    if expires_at <= step.now {
        return Ok(None);
    }
    step.tx.prepare_cached("UPDATE leases SET repeated = 1 WHERE entry = ?1")?.execute([entry.to_string()])?;
    if planted::has(Bug::LostOnRetry) {
        let lose = format!("UPDATE \"{}\" SET usage_count = max(0, usage_count - 1) WHERE id = ?1", pool.collection);
        step.tx.execute(&lose, [id.to_string()])?;
    }
    match secret {
        Ok(secret) => Ok(Some(Some(LeasedKey { entry, id, secret, usage_count, expires_at }))),
        Err(why) => keep::give_up(step, pool, id, why).map(|()| Some(None)),
    }
}

/// The same as the answer to a lease.
fn repeated(step: &Step<'_>, pool: &Policy, request: &LeaseRequest) -> rusqlite::Result<Option<LeaseAnswer>> {
    let same = find_same(step, pool, request)?;
    Ok(same.map(|same| same.map_or(LeaseAnswer::SameUnreadable, LeaseAnswer::Same)))
}

/// A lease of an earlier request: its id, its key with secret and count, and its end.
type Earlier = (EntryId, KeyId, Result<Secret, NotOpened>, u64, Timestamp);

/// The open lease, lapsed or not, that the same request got before.
fn same_request(step: &Step<'_>, pool: &Policy, request: &LeaseRequest) -> rusqlite::Result<Option<Earlier>> {
    step.tx
        .prepare_cached(&format!(
            "SELECT k.api_key, k.sealed, k.sealed_by, k.unreadable, leases.entry, k.id, k.usage_count, leases.expires_at
             FROM leases JOIN \"{}\" AS k ON k.id = leases.key WHERE leases.collection = ?1 AND leases.idem = ?2",
            pool.collection
        ))?
        .query_row((&pool.collection, request.idem.as_str()), |found| {
            let id = row::id(found, 5)?;
            let secret = row::stored(found, [0, 1, 2, 3], |stored| step.vault.open(pool, id, stored))?;
            let expires_at = Timestamp::from_millis(found.get(7)?);
            Ok((row::parsed::<EntryId>(found, 4)?, id, secret, found.get(6)?, expires_at))
        })
        .optional()
}

pub(super) fn renew(
    step: &Step<'_>,
    pool: &Policy,
    lease: &LeaseId,
    ttl: Duration,
) -> rusqlite::Result<Option<Timestamp>> {
    step.tx
        .prepare_cached(
            "UPDATE leases SET expires_at = max(expires_at, ?5)
             WHERE collection = ?1 AND key = ?2 AND entry = ?3 AND expires_at > ?4 RETURNING expires_at",
        )?
        .query_row(
            (
                &pool.collection,
                lease.key.to_string(),
                lease.entry.to_string(),
                step.now.as_millis(),
                step.now.plus(ttl).as_millis(),
            ),
            |found| found.get(0).map(Timestamp::from_millis),
        )
        .optional()
}
