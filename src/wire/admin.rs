//! What operators ask over HTTP: to list keys, to change one, to count anew.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::record::KeyRecordReply;
use super::whole::Whole;
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::record::MAX_NOTE;
use crate::domain::{KeyChange, KeyId, KeyRecord, Policy, Rest, Secret};
use crate::store::Seen;

/// How many ids are counted anew in one request.
pub(super) const MAX_IDS: usize = 1000;

/// A part of a pool's keys.
#[derive(Serialize, ToSchema)]
pub struct KeysReply<'a> {
    keys: Vec<KeyRecordReply<'a>>,
    #[schema(required)]
    next_cursor: Option<String>,
}

impl<'a> KeysReply<'a> {
    /// Shows the keys of a part that was to have at most `limit`.
    pub fn new(pool: &Policy, part: &'a Seen<Vec<KeyRecord>>, limit: u32) -> Self {
        // A part that is full may have another one after it; one that is not is the last.
        let last = part.value.last().filter(|_| part.value.len() >= limit as usize);
        let keys = part.value.iter().map(|record| KeyRecordReply::new(pool, record, part.now));
        Self { keys: keys.collect(), next_cursor: last.map(|record| record.place().to_string()) }
    }
}

/// What is to be changed of a key: what is named, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeBody {
    #[serde(default, deserialize_with = "named")]
    is_active: Option<bool>,
    #[serde(default, deserialize_with = "named")]
    usage_count: Option<Whole>,
    #[serde(default, deserialize_with = "named")]
    resting_until: Option<()>,
    #[serde(default, deserialize_with = "named")]
    note: Option<Option<String>>,
    #[serde(default, deserialize_with = "named")]
    api_key: Option<String>,
}

/// A field that is there, with its value; null is a value, and for most of them a wrong one.
fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl ChangeBody {
    /// The body that is expected, for people.
    pub const EXPECTED: &'static str = r#"one or more of {"is_active": true, "usage_count": 0, "resting_until": null, "note": "..", "api_key": ".."}; a usage_count is a whole number from 0 to 2^53, a note at most 1000 characters or null, an api_key 1 to 4096 visible ASCII characters"#;

    /// The change that is meant; None where nothing is named, or something has not its shape.
    pub fn change(self) -> Option<KeyChange> {
        let secret = self.api_key.map(|secret| Secret::parse(&secret)).transpose().ok()?;
        let count_fits = self.usage_count.is_none_or(|Whole(count)| count <= MAX_USAGE_COUNT);
        let note_fits = self.note.iter().flatten().all(|note| note.chars().count() <= MAX_NOTE);
        let change = KeyChange {
            is_active: self.is_active,
            usage_count: self.usage_count.map(|Whole(count)| count),
            rest: self.resting_until.map(|()| Rest::End),
            note: self.note,
            secret,
        };
        let something = change.is_active.is_some()
            || change.usage_count.is_some()
            || change.rest.is_some()
            || change.note.is_some()
            || change.secret.is_some();
        (something && count_fits && note_fits).then_some(change)
    }
}

/// Which keys are to be counted anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetBody {
    #[serde(default, deserialize_with = "named")]
    ids: Option<Vec<String>>,
    #[serde(default, deserialize_with = "named")]
    all: Option<bool>,
}

/// Which keys are to be counted anew.
pub enum Reset {
    /// These.
    Ids(Vec<KeyId>),
    /// All of the pool.
    All,
}

impl ResetBody {
    /// The body that is expected, for people.
    pub const EXPECTED: &'static str =
        r#"{"ids": ["..", ".."]}, 1 to 1000 ids of 24 lower-case hexadecimal digits, or {"all": true}"#;

    /// The keys that are meant; None where the body says neither or both, or an id has not its shape.
    pub fn reset(self) -> Option<Reset> {
        match (self.ids, self.all) {
            (Some(ids), None) if (1..=MAX_IDS).contains(&ids.len()) => {
                let mut ids: Vec<KeyId> = ids.iter().map(|id| id.parse().ok()).collect::<Option<_>>()?;
                ids.sort_unstable();
                ids.dedup();
                Some(Reset::Ids(ids))
            }
            (None, Some(true)) => Some(Reset::All),
            _ => None,
        }
    }
}

/// What became of the keys that were to be counted anew.
#[derive(Serialize, ToSchema)]
pub struct ResetReply {
    /// How many have the count 0 now.
    pub reset: u64,
    /// The ids that the pool does not have.
    #[schema(value_type = Vec<KeyId>)]
    pub unknown: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_what_is_named() {
        let change = |body: &str| serde_json::from_str::<ChangeBody>(body).ok().and_then(ChangeBody::change);
        let all =
            r#"{"is_active":false,"usage_count":9007199254740992,"resting_until":null,"note":null,"api_key":"sk"}"#;
        let all = change(all).expect("valid");
        assert_eq!((all.is_active, all.usage_count, all.rest), (Some(false), Some(1 << 53), Some(Rest::End)));
        assert_eq!((all.note, all.secret.is_some()), (Some(None), true));
        let note = format!(r#"{{"note":"{}"}}"#, "ä".repeat(MAX_NOTE));
        assert!(change(&note).is_some_and(|change| change.is_active.is_none() && change.note.is_some()));
        for bad in [
            "{}",
            "[]",
            "null",
            r#"{"is_active":null}"#,
            r#"{"is_active":1}"#,
            r#"{"usage_count":null}"#,
            r#"{"usage_count":-1}"#,
            r#"{"usage_count":1.5}"#,
            r#"{"usage_count":9007199254740993}"#,
            r#"{"resting_until":"2026-01-02T03:04:05.678Z"}"#,
            r#"{"note":1}"#,
            r#"{"api_key":null}"#,
            r#"{"api_key":""}"#,
            r#"{"api_key":"a b"}"#,
            r#"{"is_active":true,"other":1}"#,
            r#"{"is_active":true,"usage_count":-1}"#,
            &format!(r#"{{"note":"{}"}}"#, "x".repeat(MAX_NOTE + 1)),
        ] {
            assert!(change(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn either_ids_or_all_are_counted_anew() {
        let reset = |body: &str| serde_json::from_str::<ResetBody>(body).ok().and_then(ResetBody::reset);
        assert!(matches!(reset(r#"{"all":true}"#), Some(Reset::All)));
        let twice = r#"{"ids":["0123456789abcdef01234567","0123456789abcdef01234567"]}"#;
        assert!(matches!(reset(twice), Some(Reset::Ids(ids)) if ids.len() == 1));
        let ids = |count| serde_json::json!({"ids": vec!["0123456789abcdef01234567"; count]}).to_string();
        assert!(reset(&ids(MAX_IDS)).is_some());
        for bad in [
            "{}",
            r#"{"all":false}"#,
            r#"{"all":null}"#,
            r#"{"ids":[]}"#,
            r#"{"ids":["x"]}"#,
            r#"{"ids":null}"#,
            r#"{"ids":[1]}"#,
            r#"{"ids":["0123456789abcdef01234567"],"all":true}"#,
            r#"{"ids":["0123456789abcdef01234567"],"all":false}"#,
            r#"{"all":true,"other":1}"#,
            &ids(MAX_IDS + 1),
        ] {
            assert!(reset(bad).is_none(), "{bad}");
        }
    }
}
