//! What those who give keys say: the command that makes one, and the provider that tells how much is left on one.

use keylend::domain::record::MAX_NOTE;
use keylend::provider::{credits, understand};

use super::{assert_secret, assert_untold, written_out};

/// The one member that is a key.
#[derive(serde::Deserialize)]
struct Printed {
    api_key: String,
}

/// A key that was made is a secret, and the only one that was printed; credits are a number. No error repeats what was
/// said.
pub fn provider(input: &[u8]) {
    let said = written_out(input);
    match understand(&said) {
        Ok(made) => {
            assert_secret(&made.secret);
            let text = made.secret.expose();
            assert!(made.note.as_ref().is_none_or(|note| note.chars().count() <= MAX_NOTE));
            // Of other members nothing is read: a number there may be larger than any.
            let printed = std::str::from_utf8(&said).expect("it was understood").trim();
            match printed.starts_with('{') {
                true => assert_eq!(serde_json::from_str::<Printed>(printed).expect("an object").api_key, text),
                false => assert_eq!(printed, text),
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
