//! `api_state.json`, which the older Flask server wrote beside its key files.

use keylend::key_files::state::{ApiState, Counter, InvalidState};
use serde_json::{Value, json};

use super::{assert_untold, written_out};

/// A counter is the number that the file has, or the nearest that a key can have, and no error repeats the file.
pub fn state_file(input: &[u8]) {
    let text = written_out(input);
    let state = match ApiState::parse(&text) {
        Ok(state) => state,
        Err(error) => {
            assert_untold(&format!("{error} {error:?}"));
            if let InvalidState::Broken { line } = error {
                let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
                assert!((1..=lines).contains(&line), "line {line} of {lines}");
            }
            return;
        }
    };
    let said: Value = serde_json::from_slice(&text).expect("what was read is JSON");
    for pool in ["plantid", "healthid"] {
        for uses_per_key in [1, 100, 10_000] {
            let counter = state.counter(pool, uses_per_key);
            assert_counter(counter, said.get(pool), u64::from(uses_per_key));
            if let Counter::Uses(uses) | Counter::Clamped(uses) = counter {
                let written = json!({pool: uses}).to_string();
                let again = ApiState::parse(written.as_bytes()).expect("what was written is read");
                assert_eq!(again.counter(pool, uses_per_key), Counter::Uses(uses));
            }
        }
    }
}

fn assert_counter(counter: Counter, said: Option<&Value>, most: u64) {
    match (counter, said) {
        (Counter::Uses(uses), Some(said)) => assert!(uses <= most && *said == json!(uses), "{uses} of {said}"),
        (Counter::Clamped(uses), Some(Value::Number(said))) => {
            let number = said.as_f64().expect("a number");
            // A use that was started is a use.
            let nearest = number.ceil().clamp(0.0, most as f64);
            assert!(uses as f64 == nearest && said.as_u64() != Some(uses), "{uses} of {said}");
        }
        (Counter::NoNumber, Some(said)) => assert!(!said.is_number(), "{said}"),
        (Counter::Missing, None) => {}
        (counter, said) => panic!("{counter:?} of {said:?}"),
    }
}
