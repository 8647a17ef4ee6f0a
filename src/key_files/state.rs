//! `api_state.json`: how many requests the older server had answered with the first key of each file.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::read::{Unreadable, open};

/// The largest state file: two small numbers, and room to spare.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a state file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum InvalidState {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    /// It is no JSON: it was broken off, or is something else.
    #[error("line {line}: it is no JSON such as {{\"plantid\": 3, \"healthid\": 0}}")]
    Broken {
        /// The line on which it ceases to be.
        line: usize,
    },
    /// It is no JSON object.
    #[error("it is no JSON object such as {{\"plantid\": 3, \"healthid\": 0}}")]
    NoObject,
}

/// A counter as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Uses of the first key.
    Uses(u64),
    /// There was a number, but not one that a key can have: taken as the nearest that it can.
    Clamped(u64),
    /// There is no number.
    NoNumber,
    /// The file does not name the pool.
    Missing,
}

/// The counters of a state file.
#[derive(Debug)]
pub struct ApiState(serde_json::Map<String, Value>);

impl ApiState {
    /// Reads a state file.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(path: &Path) -> Result<Self, InvalidState> {
        let mut text = Vec::new();
        open(path, MAX_BYTES)?.take(MAX_BYTES).read_to_end(&mut text).map_err(Unreadable::from)?;
        Self::parse(&text)
    }

    /// What the text of a state file says.
    ///
    /// # Errors
    /// Where it is none.
    #[doc(hidden)]
    pub fn parse(text: &[u8]) -> Result<Self, InvalidState> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(counters)) => Ok(Self(counters)),
            Ok(_) => Err(InvalidState::NoObject),
            Err(error) => Err(InvalidState::Broken { line: error.line() }),
        }
    }

    /// The counter of a pool whose keys give so many uses.
    pub fn counter(&self, pool: &str, uses_per_key: u32) -> Counter {
        let most = u64::from(uses_per_key);
        match self.0.get(pool) {
            None => Counter::Missing,
            Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
                (Some(uses), _) if uses <= most => Counter::Uses(uses),
                (_, Some(below)) if below < 0.0 => Counter::Clamped(0),
                // A use that was started is a use.
                (_, Some(uses)) => Counter::Clamped((uses.ceil() as u64).min(most)),
                (_, None) => Counter::NoNumber,
            },
            Some(_) => Counter::NoNumber,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_taken_as_uses() {
        let folder = tempfile::tempdir().expect("made");
        let path = folder.path().join("api_state.json");
        let counter = |text: &str| {
            std::fs::write(&path, text).expect("written");
            ApiState::read(&path).map(|state| state.counter("plantid", 100)).ok()
        };
        for (text, expected) in [
            (r#"{"plantid": 37, "healthid": 0}"#, Some(Counter::Uses(37))),
            (r#"{"plantid": 0}"#, Some(Counter::Uses(0))),
            (r#"{"plantid": 100}"#, Some(Counter::Uses(100))),
            (r#"{"plantid": 101}"#, Some(Counter::Clamped(100))),
            (r#"{"plantid": 1e99}"#, Some(Counter::Clamped(100))),
            (r#"{"plantid": -1}"#, Some(Counter::Clamped(0))),
            (r#"{"plantid": 1.5}"#, Some(Counter::Clamped(2))),
            (r#"{"plantid": "3"}"#, Some(Counter::NoNumber)),
            (r#"{"plantid": null}"#, Some(Counter::NoNumber)),
            (r#"{"healthid": 3}"#, Some(Counter::Missing)),
            ("[]", None),
            ("", None),
            ("{\"plantid\": 3", None),
            ("\u{0}\u{1}", None),
        ] {
            assert_eq!(counter(text), expected, "{text}");
        }
        std::fs::write(&path, "{\"plantid\":\n3,\n").expect("written");
        assert!(matches!(ApiState::read(&path), Err(InvalidState::Broken { line: 3 })));
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(ApiState::read(&path), Err(InvalidState::Unreadable(Unreadable::Missing))));
        assert!(matches!(ApiState::read(folder.path()), Err(InvalidState::Unreadable(Unreadable::NoFile))));
    }
}
