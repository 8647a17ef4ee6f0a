//! The text of a key, which leaves keylend only where a caller is handed it.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The longest secret, in characters.
pub const MAX_LEN: usize = 4096;

/// The beginning of what stands in a document for a secret that is encrypted there. No secret begins with it: it would be
/// taken for one that is.
pub const STANDS_FOR: &str = "keylend-sealed:";

/// Secrets shorter than this show nothing at all when masked.
const MASKED_FROM: usize = 16;

/// A key's text: 1 to [`MAX_LEN`] visible ASCII characters, no spaces; not [`STANDS_FOR`] at its beginning.
///
/// It has no `Display`, its `Debug` is redacted, and its memory is cleared when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

/// Why a text is no secret. The messages never repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidSecret {
    /// There is no character in it.
    #[error("is empty")]
    Empty,
    /// It has more than [`MAX_LEN`] characters.
    #[error("is longer than {MAX_LEN} characters")]
    TooLong,
    /// It has a space, a control character, or one outside ASCII.
    #[error("has a character that is not visible ASCII")]
    NotVisibleAscii,
    /// It begins with [`STANDS_FOR`].
    #[error("begins with {STANDS_FOR}, which stands for an encrypted key")]
    StandsForOne,
}

impl Secret {
    /// Takes `text` as it is: the caller trims, where trimming is meant.
    ///
    /// # Errors
    /// Says which of the rules the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        if text.is_empty() {
            return Err(InvalidSecret::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidSecret::NotVisibleAscii);
        }
        if text.len() > MAX_LEN {
            return Err(InvalidSecret::TooLong);
        }
        if text.starts_with(STANDS_FOR) {
            return Err(InvalidSecret::StandsForOne);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// The text itself, for a store that keeps it and an answer that hands it out.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Enough of its SHA-256 to tell it from a million others, where many are compared and none is to be kept.
    pub fn fingerprint(&self) -> [u8; 16] {
        let digest: [u8; 32] = Sha256::digest(self.expose()).into();
        std::array::from_fn(|index| digest[index])
    }

    /// The form that may be shown: the first 5 characters, `...`, the last 4; `...` alone for a secret
    /// shorter than 16 characters, of which those nine would tell too much.
    pub fn masked(&self) -> String {
        let text = self.expose();
        if text.len() < MASKED_FROM {
            return "...".to_owned();
        }
        format!("{}...{}", &text[..5], &text[text.len() - 4..])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_visible_ascii_up_to_the_limit_and_nothing_else() {
        let longest = "x".repeat(MAX_LEN);
        for text in ["a", "sk-0123456789", "!~", longest.as_str()] {
            assert_eq!(Secret::parse(text).expect("valid").expose(), text);
        }
        for (text, why) in [
            ("", InvalidSecret::Empty),
            (" ", InvalidSecret::NotVisibleAscii),
            ("a b", InvalidSecret::NotVisibleAscii),
            ("a\n", InvalidSecret::NotVisibleAscii),
            ("schlüssel", InvalidSecret::NotVisibleAscii),
            ("a\u{7f}", InvalidSecret::NotVisibleAscii),
            ("x".repeat(MAX_LEN + 1).as_str(), InvalidSecret::TooLong),
            ("keylend-sealed:0", InvalidSecret::StandsForOne),
        ] {
            assert_eq!(Secret::parse(text).expect_err("invalid"), why);
        }
    }

    #[test]
    fn shows_nothing_of_a_short_secret() {
        let masked = |text: &str| Secret::parse(text).expect("valid").masked();
        assert_eq!(masked("123456789012345"), "...");
        assert_eq!(masked("1234567890123456"), "12345...3456");
        assert_eq!(masked("x"), "...");
    }

    #[test]
    fn debug_is_redacted() {
        let secret = Secret::parse("sk-recognisable-secret").expect("valid");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(..) Some(Secret(..))");
    }

    proptest! {
        #[test]
        fn a_masked_secret_never_holds_more_than_nine_of_its_characters(text in "[!-~]{1,200}") {
            let masked = Secret::parse(&text).expect("valid").masked();
            prop_assert!(masked.len() == 3 || (masked.len() == 12 && text.len() >= 16));
        }
    }
}
