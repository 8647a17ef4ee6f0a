//! judge: what a provider said of a key; the domain's own rule, row by row.

use rusqlite::params;

use super::{Seen, Step, show::show};
use crate::domain::{DisabledReason, KeyId, KeyRecord, Policy, Secret, Timestamp, Verdict};

pub(super) fn judge(
    step: &Step<'_>,
    pool: &Policy,
    id: KeyId,
    secret: &Secret,
    verdict: Verdict,
) -> rusqlite::Result<Option<Seen<KeyRecord>>> {
    let Some(mut seen) = show(step, pool, id)? else { return Ok(None) };
    // What was asked about is the secret: a key that has another one by now is not meant.
    if seen.value.key.secret.as_ref().map(Secret::expose) != Some(secret.expose()) {
        return Ok(None);
    }
    verdict.apply(pool, &mut seen.value, step.now);
    let record = &seen.value;
    step.tx
        .prepare_cached(&format!(
            "UPDATE \"{}\" SET is_active = ?2, resting_until = ?3, disabled_reason = ?4, verified_at = ?5,
                 verdict = ?6, credits = ?7
             WHERE id = ?1",
            pool.collection
        ))?
        .execute(params![
            id.to_string(),
            record.key.is_active,
            record.key.resting_until.map(Timestamp::as_millis),
            record.disabled_reason.map(DisabledReason::as_str),
            record.verified.map(|verified| verified.at.as_millis()),
            record.verified.map(|verified| verified.verdict),
            record.verified.and_then(|verified| verified.credits),
        ])?;
    Ok(Some(seen))
}
