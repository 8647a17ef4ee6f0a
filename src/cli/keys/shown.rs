//! `keylend keys show`, and how keys look: a row in a list, or all that is stored of one.

use serde::Serialize;

use super::named::{NamedKeys, Selection};
use crate::cli::{Failure, output};
use crate::config::Settings;
use crate::domain::state::state;
use crate::domain::{DisabledReason, Key, KeyRecord, Policy, Secret, Timestamp, Verified};
use crate::store::Seen;
use crate::store::mongodb::credits::CREDITS;
use crate::wire::record::KeyRecordReply;

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys show 65a1b2c3d4e5f60718293a4b
  pass show stability | keylend keys show --secret -";

pub(super) const HEADINGS: [&str; 6] = ["ID", "KEY", "USES", "LEFT", "STATE", "LAST USED"];

pub(super) async fn run(settings: &Settings, arguments: NamedKeys) -> Result<(), Failure> {
    let (json, selection) = (arguments.pool.json, Selection::of(settings, &arguments).await?);
    let mut first = true;
    selection
        .each(async |pool, id| {
            let seen = pool.show(id).await?;
            if json {
                return print_record(pool.policy(), &seen);
            }
            if !std::mem::take(&mut first) {
                output::print("")?;
            }
            output::print_pairs(details(pool.policy(), &seen))
        })
        .await
}

/// One key as a line of JSON.
pub(super) fn print_record(policy: &Policy, seen: &Seen<KeyRecord>) -> Result<(), Failure> {
    output::print_json(&KeyRecordReply::new(policy, &seen.value, seen.now))
}

/// The credits that the old programs would show for a key; None where its count is no number.
pub(super) fn credits(key: &Key) -> Option<u64> {
    key.usage_count.whole().map(|count| CREDITS.unsigned_abs().saturating_sub(count))
}

/// One key as a row under [`HEADINGS`].
pub(super) fn row(policy: &Policy, key: &Key, now: Timestamp) -> Vec<String> {
    vec![
        key.id.to_string(),
        output::or_dash(key.secret.as_ref().map(Secret::masked)),
        json_text(&key.usage_count),
        key.left(policy.uses_per_key).to_string(),
        state(key, policy.uses_per_key, now).as_str().to_owned(),
        output::or_dash(key.last_used),
    ]
}

fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "-".to_owned())
}

/// What its provider said of a key last.
fn verified(verified: Verified) -> String {
    let credits = verified.credits.map(|credits| format!(", {credits} credits"));
    format!("{} at {}{}", verified.verdict, verified.at, credits.unwrap_or_default())
}

fn details(policy: &Policy, seen: &Seen<KeyRecord>) -> Vec<(&'static str, String)> {
    let Seen { value: record, now } = seen;
    let key = &record.key;
    let mut details = vec![
        ("id", key.id.to_string()),
        ("key", output::or_dash(key.secret.as_ref().map(Secret::masked))),
        ("pool", policy.name.to_string()),
        ("state", state(key, policy.uses_per_key, *now).as_str().to_owned()),
        ("usage_count", json_text(&key.usage_count)),
        ("left", key.left(policy.uses_per_key).to_string()),
        ("last_used", output::or_dash(key.last_used)),
        ("is_active", key.is_active.to_string()),
        ("disabled_reason", output::or_dash(record.disabled_reason.map(DisabledReason::as_str))),
        ("resting_until", output::or_dash(key.resting_until)),
        ("note", output::or_dash(record.note.as_deref())),
        ("added_at", output::or_dash(record.added_at)),
        ("verified", output::or_dash(record.verified.map(verified))),
        ("encrypted by", output::or_dash(record.sealed_by.as_deref())),
        ("leases", record.leases.len().to_string()),
    ];
    for lease in &record.leases {
        let by = lease.by.as_deref().filter(|by| !by.is_empty());
        details.push(("", format!("by {} until {}", output::or_dash(by), output::or_dash(lease.expires_at))));
    }
    details
}
