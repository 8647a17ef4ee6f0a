//! Exported keys: one JSON object a line, the secrets in them, as an import takes them again.

use serde::{Deserialize, Serialize};

use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::{DisabledReason, NewKey, PoolName, Secret, Timestamp};
use crate::pool::export::{Ending, LISTED, Part};
use crate::pool::import::{Format, InvalidLine, Line};
use crate::store::InvalidKey;

/// The longest note, in bytes. Longer ones, which other programs can write, are cut when they are exported.
pub const MAX_NOTE: usize = 4096;

/// The most that the last line says of one invalid key, in bytes: what names it, and what is wrong with each field.
const OF_INVALID: usize = 512;

/// One exported key a line. The longest is the last one, which names invalid keys; a key has a secret and a note, each
/// character of them escaped, and the names beside.
pub const EXPORTED: Format =
    Format { read: read_line, longest: LISTED as usize * OF_INVALID, too_long: InvalidLine::TooLong };

const _: () = assert!(EXPORTED.longest > 6 * (crate::domain::secret::MAX_LEN + MAX_NOTE) + 1024);

#[derive(Serialize)]
struct KeyLine<'a> {
    pool: &'a PoolName,
    id: Option<String>,
    api_key: &'a str,
    usage_count: u64,
    last_used: Option<Timestamp>,
    is_active: bool,
    resting_until: Option<Timestamp>,
    disabled_reason: Option<&'static str>,
    note: Option<&'a str>,
    added_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct LastLine<'a> {
    pool: &'a PoolName,
    exported: u64,
    invalid: u64,
    invalid_keys: Vec<InvalidKeyLine<'a>>,
}

#[derive(Serialize)]
struct InvalidKeyLine<'a> {
    id: &'a str,
    reasons: &'a [String],
}

impl<'a> From<&'a InvalidKey> for InvalidKeyLine<'a> {
    fn from(key: &'a InvalidKey) -> Self {
        Self { id: &key.id, reasons: &key.reasons }
    }
}

/// The lines of a part of an export of `pool`, each with its end. They hold secrets.
pub fn lines(pool: &PoolName, part: &Part) -> Vec<u8> {
    let mut lines = Vec::new();
    match part {
        Part::Keys(keys) => keys.iter().for_each(|key| write_line(&mut lines, &KeyLine::new(pool, key))),
        Part::End(Ending { exported, invalid, invalid_keys }) => write_line(
            &mut lines,
            &LastLine {
                pool,
                exported: *exported,
                invalid: *invalid,
                invalid_keys: invalid_keys.iter().map(InvalidKeyLine::from).collect(),
            },
        ),
    }
    lines
}

fn write_line(lines: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *lines, line).expect("a line is made of texts and numbers, and memory takes them");
    lines.push(b'\n');
}

impl<'a> KeyLine<'a> {
    fn new(pool: &'a PoolName, key: &'a NewKey) -> Self {
        Self {
            pool,
            id: key.id.map(|id| id.to_string()),
            api_key: key.secret.expose(),
            usage_count: key.usage_count,
            last_used: key.last_used,
            is_active: key.is_active,
            resting_until: key.resting_until,
            disabled_reason: key.disabled_reason.map(DisabledReason::as_str),
            note: key.note.as_deref().map(|note| &note[..note.floor_char_boundary(MAX_NOTE)]),
            added_at: key.added_at,
        }
    }
}

impl Serialize for PoolName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A line of an export: a key, or the last one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadLine {
    pool: String,
    id: Option<String>,
    api_key: Option<String>,
    #[serde(default)]
    usage_count: u64,
    last_used: Option<Timestamp>,
    is_active: Option<bool>,
    resting_until: Option<Timestamp>,
    disabled_reason: Option<String>,
    note: Option<String>,
    added_at: Option<Timestamp>,
    exported: Option<u64>,
    #[serde(rename = "invalid")]
    _invalid: Option<u64>,
    #[serde(rename = "invalid_keys")]
    _invalid_keys: Option<serde_json::Value>,
}

fn read_line(line: &[u8], pool: &PoolName) -> Line {
    key(line, pool).unwrap_or_else(Line::Invalid)
}

fn key(line: &[u8], pool: &PoolName) -> Result<Line, InvalidLine> {
    let wrong = InvalidLine::NotExported;
    let no_key = wrong(r#"is no exported key: {"pool": "..", "api_key": "..", "usage_count": 0, ..}"#);
    // Read as a shape with names, a list would be taken by the order of its values.
    if line.first() != Some(&b'{') {
        return Err(no_key);
    }
    let line: ReadLine = serde_json::from_slice(line).map_err(|_| no_key)?;
    if line.pool != pool.as_str() {
        return Err(InvalidLine::OtherPool);
    }
    let Some(api_key) = line.api_key else {
        return match line.exported {
            Some(_) => Ok(Line::Nothing),
            None => Err(InvalidLine::NotExported("has no api_key")),
        };
    };
    let reason = line.disabled_reason.map(|word| {
        DisabledReason::of_word(&word).ok_or(InvalidLine::NotExported(
            "has a disabled_reason other than rejected, exhausted, operator, removed_from_file",
        ))
    });
    if line.usage_count > MAX_USAGE_COUNT {
        return Err(InvalidLine::NotExported("has a usage_count above 2^53"));
    }
    if line.note.as_ref().is_some_and(|note| note.len() > MAX_NOTE) {
        return Err(InvalidLine::NotExported("has a note longer than 4096 bytes"));
    }
    Ok(Line::Key(Box::new(NewKey {
        secret: Secret::parse(&api_key).map_err(InvalidLine::Secret)?,
        id: line
            .id
            .map(|id| id.parse().map_err(|_| wrong("has an id that is not 24 lower-case hexadecimal digits")))
            .transpose()?,
        usage_count: line.usage_count,
        last_used: line.last_used,
        is_active: line.is_active.unwrap_or(true),
        resting_until: line.resting_until,
        disabled_reason: reason.transpose()?,
        note: line.note,
        added_at: line.added_at,
        from_file: false,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::KeyId;

    fn pool() -> PoolName {
        "stability".parse().expect("valid")
    }

    #[test]
    fn what_is_exported_is_read_again() {
        let keys = vec![
            NewKey {
                id: Some(KeyId::from_bytes([3; 12])),
                usage_count: 3,
                last_used: Some(Timestamp::from_millis(1_767_323_045_678)),
                is_active: false,
                resting_until: Some(Timestamp::from_millis(0)),
                disabled_reason: Some(DisabledReason::Rejected),
                note: Some("of \"Ann\"\n".to_owned()),
                added_at: Some(Timestamp::from_millis(-1)),
                ..NewKey::fresh(Secret::parse("sk-\"1\\").expect("valid"))
            },
            NewKey { id: Some(KeyId::from_bytes([4; 12])), ..NewKey::fresh(Secret::parse("sk-2").expect("valid")) },
        ];
        let text = lines(&pool(), &Part::Keys(keys.clone()));
        let read: Vec<NewKey> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| match read_line(line, &pool()) {
                Line::Key(key) => *key,
                _ => panic!("no key"),
            })
            .collect();
        assert_eq!(lines(&pool(), &Part::Keys(read)), text);
        let second = String::from_utf8(text).expect("text").lines().nth(1).expect("a line").to_owned();
        assert_eq!(
            second,
            r#"{"pool":"stability","id":"040404040404040404040404","api_key":"sk-2","usage_count":0,"last_used":null,"is_active":true,"resting_until":null,"disabled_reason":null,"note":null,"added_at":null}"#
        );
    }

    #[test]
    fn the_last_line_names_what_was_left_out_and_adds_nothing() {
        let invalid_keys = vec![InvalidKey {
            id: "030303030303030303030303".to_owned(),
            reasons: vec!["api_key is missing".to_owned()],
        }];
        let text = lines(&pool(), &Part::End(Ending { exported: 2, invalid: 1, invalid_keys }));
        assert_eq!(
            String::from_utf8(text.clone()).expect("text"),
            "{\"pool\":\"stability\",\"exported\":2,\"invalid\":1,\"invalid_keys\":[{\"id\":\"030303030303030303030303\",\"reasons\":[\"api_key is missing\"]}]}\n"
        );
        assert!(matches!(read_line(&text, &pool()), Line::Nothing));
    }

    #[test]
    fn the_last_line_is_never_too_long_for_an_import() {
        // The longest words that the stores have for what is wrong.
        let reasons = [
            "_id is of a type that keylend does not know",
            "api_key has a character that is not visible ASCII",
            "usage_count is of a type that keylend does not know",
            "leases has an entry that is not keylend's",
        ];
        let invalid_key = InvalidKey {
            id: "an _id that is of a type that keylend does not know".to_owned(),
            reasons: reasons.map(str::to_owned).to_vec(),
        };
        let invalid_keys = vec![invalid_key; LISTED as usize];
        let text = lines(&pool(), &Part::End(Ending { exported: u64::MAX, invalid: u64::MAX, invalid_keys }));
        assert!(text.len() <= EXPORTED.longest, "{}", text.len());
    }

    #[test]
    fn a_line_of_another_shape_is_told_without_its_content() {
        for (line, told) in [
            ("sk-hush", "is no exported key"),
            ("[]", "is no exported key"),
            (r#"["stability",null,"hush",0,null,true,null,null,null,null,null,null,null]"#, "is no exported key"),
            (r#"{"pool":"stability","api_key":"hush","more":1}"#, "is no exported key"),
            (r#"{"pool":"stability","api_key":"hush","usage_count":-1}"#, "is no exported key"),
            (r#"{"pool":"stability","api_key":"hush","last_used":"hush"}"#, "is no exported key"),
            (r#"{"pool":"plantid","api_key":"hush"}"#, "another pool"),
            (r#"{"pool":"stability"}"#, "has no api_key"),
            (r#"{"pool":"stability","api_key":"hu sh"}"#, "not visible ASCII"),
            (r#"{"pool":"stability","api_key":"hush","id":"x"}"#, "24 lower-case"),
            (r#"{"pool":"stability","api_key":"hush","disabled_reason":"hush"}"#, "removed_from_file"),
            (r#"{"pool":"stability","api_key":"hush","usage_count":9007199254740993}"#, "2^53"),
        ] {
            let Line::Invalid(reason) = read_line(line.as_bytes(), &pool()) else { panic!("{line}") };
            assert!(reason.to_string().contains(told) && !reason.to_string().contains("hush"), "{line}: {reason}");
        }
    }
}
