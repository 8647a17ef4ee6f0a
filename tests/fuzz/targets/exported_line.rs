//! Lines of an export, as an import takes them again, and lines of one secret each.

use keylend::domain::{DisabledReason, NewKey};
use keylend::pool::export::{Ending, LISTED, Part};
use keylend::pool::import::{Line, SECRETS};
use keylend::store::InvalidKey;
use keylend::wire::export::{EXPORTED, MAX_NOTE, lines};
use serde_json::Value;

use super::{all_of, assert_key, assert_untold, member, pool, written_out};

/// The longest name of an invalid key, and the longest reason, in characters: stores have no longer ones.
const WORDS: usize = 64;

/// How many reasons there are at most.
const REASONS: usize = 4;

/// A line that is read is written and read again to the same key; what it says of it is all there.
pub fn exported_line(input: &[u8]) {
    let text = written_out(input);
    let text = text.trim_ascii();
    secret(text);
    exported(&text[..text.len().min(EXPORTED.longest)]);
    ending(text);
}

fn secret(line: &[u8]) {
    match (SECRETS.read)(line, &pool("stability")) {
        Line::Key(key) => {
            assert_key(&key);
            assert_eq!(key.secret.expose().as_bytes(), line);
            let fresh = NewKey::fresh(key.secret.clone());
            assert_eq!(all_of(&key), all_of(&fresh));
        }
        Line::Invalid(reason) => assert_untold(&reason.to_string()),
        Line::Nothing => panic!("a line of one secret that says nothing"),
    }
}

fn exported(line: &[u8]) {
    let pool_name = pool("stability");
    let key = match (EXPORTED.read)(line, &pool_name) {
        Line::Key(key) => key,
        Line::Nothing => return assert!(said(line).get("exported").is_some_and(Value::is_u64)),
        Line::Invalid(reason) => return assert_untold(&format!("{reason} {reason:?}")),
    };
    assert_key(&key);
    assert_says(&said(line), &key);
    let written = lines(&pool_name, &Part::Keys(vec![(*key).clone()]));
    assert_eq!(all_of(&read_again(&written)), all_of(&key));
    let of_other_pool = (EXPORTED.read)(line, &pool("plantid"));
    assert!(matches!(of_other_pool, Line::Invalid(_)), "a key of another pool is taken");
}

/// What was written: one line, not longer than it may be, and a key.
fn read_again(written: &[u8]) -> NewKey {
    let line = written.strip_suffix(b"\n").expect("a line has an end");
    assert!(!line.contains(&b'\n') && line.len() <= EXPORTED.longest, "{} bytes", line.len());
    match (EXPORTED.read)(line, &pool("stability")) {
        Line::Key(key) => *key,
        Line::Nothing => panic!("what was written says nothing"),
        Line::Invalid(reason) => panic!("what was written {reason}"),
    }
}

fn said(line: &[u8]) -> Value {
    serde_json::from_slice(line).expect("what was read is JSON")
}

fn assert_says(said: &Value, key: &NewKey) {
    let text = |name: &str| member(said, name).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(text("api_key").as_deref(), Some(key.secret.expose()));
    assert_eq!(text("id"), key.id.map(|id| id.to_string()));
    assert_eq!(text("note"), key.note);
    assert!(key.note.as_ref().is_none_or(|note| note.len() <= MAX_NOTE));
    assert_eq!(text("disabled_reason").as_deref(), key.disabled_reason.map(DisabledReason::as_str));
    assert_eq!(member(said, "usage_count").map_or(Some(0), Value::as_u64), Some(key.usage_count));
    assert_eq!(member(said, "is_active").map_or(Some(true), Value::as_bool), Some(key.is_active));
    for (name, instant) in
        [("last_used", key.last_used), ("resting_until", key.resting_until), ("added_at", key.added_at)]
    {
        assert_eq!(text(name).is_some(), instant.is_some(), "{name}");
    }
}

/// An export ends with what was left out, and an import passes that over, however many keys it names.
fn ending(text: &[u8]) {
    let words = |text: &[u8]| -> String {
        let visible = text.iter().filter(|byte| byte.is_ascii_alphanumeric() || **byte == b' ');
        visible.take(WORDS).map(|byte| char::from(*byte)).collect()
    };
    // Few lines stand for many keys.
    let listed = text.split(|byte| *byte == b'\n').cycle().take(text.len().min(LISTED as usize));
    let invalid_keys: Vec<InvalidKey> = listed
        .map(|line| {
            let mut said = line.split(|byte| *byte == b',').map(words);
            InvalidKey { id: said.next().unwrap_or_default(), reasons: said.take(REASONS).collect() }
        })
        .collect();
    let ending = Ending { exported: text.len() as u64, invalid: invalid_keys.len() as u64, invalid_keys };
    let written = lines(&pool("stability"), &Part::End(ending));
    let line = written.strip_suffix(b"\n").expect("a line has an end");
    assert!(!line.contains(&b'\n') && line.len() <= EXPORTED.longest, "{} bytes", line.len());
    assert!(matches!((EXPORTED.read)(line, &pool("stability")), Line::Nothing));
}
