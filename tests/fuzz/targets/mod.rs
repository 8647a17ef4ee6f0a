//! What must hold of all that comes from outside: for each parser a function that is given any bytes. The fuzz targets in
//! `fuzz/` give it what they make up, the test `fuzz` what lies in `fuzz/corpus`.
//!
//! Three bytes of an input stand for more than themselves, see [`written_out`].

mod bodies;
mod documents;
mod embedded;
mod exported_line;
mod ids;
mod import;
mod key_file;
mod keylend_toml;
mod provider;
mod request_head;
mod rows;
mod sealed;
mod state_file;
mod tokens;

use std::fmt::Debug;

use keylend::domain::key::MAX_USAGE_COUNT;
use keylend::domain::secret::MAX_LEN;
use keylend::domain::{NewKey, PoolName, Secret};
use serde_json::Value;

pub use bodies::bodies;
pub use documents::documents;
pub use exported_line::exported_line;
pub use ids::ids;
pub use import::import;
pub use key_file::key_file;
pub use keylend_toml::keylend_toml;
pub use provider::provider;
pub use request_head::request_head;
pub use rows::rows;
pub use sealed::sealed;
pub use state_file::state_file;
pub use tokens::tokens;

/// A secret that inputs can plant, so that it can be looked for in what is told. No name may have its `!`.
const HUSH: &str = "sk-hush!hush!hush!hush";

/// The part of [`HUSH`] that nothing else has, and that no masked form shows.
const TELLTALE: &str = "hush!";

/// How many spaces or letters one byte stands for: five are more than the longest secret has.
const RUN: usize = 1000;

/// How many bytes are written out in one input, so that none takes long.
const WRITTEN_OUT: usize = 64;

/// The input with the byte 1 as [`HUSH`], 2 as a thousand spaces and 3 as a thousand letters, each of the first few: so
/// that a short input reaches what is long, and a change of one byte plants a secret.
fn written_out(input: &[u8]) -> Vec<u8> {
    let mut left = WRITTEN_OUT;
    let mut text = Vec::with_capacity(input.len());
    for byte in input {
        let run = match byte {
            1 => HUSH.as_bytes().to_vec(),
            2 => vec![b' '; RUN],
            3 => vec![b'x'; RUN],
            _ => Vec::new(),
        };
        if run.is_empty() || left == 0 {
            text.push(*byte);
        } else {
            left -= 1;
            text.extend(run);
        }
    }
    text
}

/// The same where it is text, as settings and queries are.
fn written_out_text(input: &[u8]) -> Option<String> {
    String::from_utf8(written_out(input)).ok()
}

/// A fault, an error or a line for people never holds a secret.
#[track_caller]
fn assert_untold(told: &str) {
    assert!(!told.contains(TELLTALE), "a secret is told: {told}");
}

/// A secret is what it is said to be, and shows itself nowhere but where it is asked for.
#[track_caller]
fn assert_secret(secret: &Secret) {
    let text = secret.expose();
    assert!((1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    assert_eq!(Secret::parse(text).map(|again| again.fingerprint()), Ok(secret.fingerprint()));
    let masked = secret.masked();
    assert!(masked == "..." || (text.len() >= 16 && masked.len() == 12), "{masked}");
    assert_eq!(format!("{secret:?}"), "Secret(..)");
}

/// A key that may be added is within all limits.
#[track_caller]
fn assert_key(key: &NewKey) {
    assert_secret(&key.secret);
    assert!(key.usage_count <= MAX_USAGE_COUNT, "{}", key.usage_count);
}

/// All of a key, so that two can be compared.
fn all_of(key: &NewKey) -> impl PartialEq + Debug {
    let NewKey {
        secret,
        id,
        usage_count,
        last_used,
        is_active,
        resting_until,
        disabled_reason,
        note,
        added_at,
        from_file,
    } = key.clone();
    let times = (last_used, resting_until, added_at);
    (secret.expose().to_owned(), id, usage_count, times, is_active, disabled_reason, note, from_file)
}

fn pool(name: &str) -> PoolName {
    name.parse().unwrap()
}

/// The lines of a text as people count them: each with its number from 1, without the spaces around it and a byte order
/// mark before the first one, and whether it has an end. Blank ones are left out.
fn lines(text: &[u8]) -> impl Iterator<Item = (u64, &[u8], bool)> {
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    let lines = text.split(|byte| *byte == b'\n').enumerate().map(move |(index, line)| {
        let line = line.trim_ascii_start();
        let line = if index == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        (index as u64 + 1, line.trim_ascii(), index < ends)
    });
    lines.filter(|(_, line, _)| !line.is_empty())
}

/// A member of a JSON object; null is as good as none.
fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}
