//! What those who give keys say: the command that makes one, and the provider that tells how much is left on one.

use keylend::domain::record::MAX_NOTE;
use keylend::provider::{credits, understand};
use serde_json::Value;

use super::{assert_secret, assert_untold, written_out};

/// A key that was made is a secret, and the only one that was printed; credits are a number. No error repeats what was
/// said.
pub fn provider(input: &[u8]) {
    let said = written_out(input);
    match understand(&said) {
        Ok(made) => {
            assert_secret(&made.secret);
            let text = made.secret.expose();
            assert!(made.note.as_ref().is_none_or(|note| note.chars().count() <= MAX_NOTE));
            let object: Option<Value> = serde_json::from_slice(&said).ok().filter(Value::is_object);
            match object {
                Some(object) => assert_eq!(object["api_key"].as_str(), Some(text)),
                None => assert_eq!(std::str::from_utf8(&said).map(str::trim), Ok(text)),
            }
            // What begins so is read as JSON.
            if !text.starts_with(['{', '[']) {
                let again = understand(format!("{text}\n").as_bytes()).expect("what was written is read");
                assert_eq!(again.secret.expose(), text);
            }
        }
        Err(error) => assert_untold(&format!("{error} {error:?}")),
    }
    match credits(&said, "credits") {
        Ok(credits) => assert!(credits.is_none_or(f64::is_finite), "{credits:?}"),
        Err(unsaid) => assert_untold(&format!("{unsaid} {unsaid:?}")),
    }
}
