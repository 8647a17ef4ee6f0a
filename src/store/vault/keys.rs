//! The keys of a vault: 32 bytes each, which show nothing and are wiped.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The longest name of a key.
const NAME: usize = 40;

/// A key that encrypts secrets, by a name of its operator's.
#[derive(Debug)]
pub struct EncryptionKey {
    name: String,
    bytes: Bytes,
}

/// The key of the digests that stand for secrets.
#[derive(Debug)]
pub struct DigestKey(Bytes);

/// Why a text is no key. The messages never repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// There is no name before the key.
    #[error("it is ID:KEY, its ID 1 to {NAME} letters, digits, - and _")]
    Name,
    /// It is not so long, or another encoding.
    #[error("the key must be the base64 of 32 bytes, as `openssl rand -base64 32` makes one")]
    Bytes,
}

impl EncryptionKey {
    /// A key of this name.
    ///
    /// # Errors
    /// Where the name is none.
    pub fn new(name: &str, bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        Self::of(name, Bytes::new(bytes))
    }

    /// Reads `ID:KEY`, the key in base64.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let (name, key) = text.trim().split_once(':').ok_or(InvalidKey::Name)?;
        Self::of(name, Bytes::parse(key)?)
    }

    fn of(name: &str, bytes: Bytes) -> Result<Self, InvalidKey> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=NAME).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(InvalidKey::Name);
        }
        Ok(Self { name: name.to_owned(), bytes })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        self.bytes.0.expose_secret()
    }

    pub(super) fn fingerprint(&self) -> String {
        self.bytes.fingerprint("encryption")
    }
}

impl DigestKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Bytes::new(bytes))
    }

    /// Reads a key in base64.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        Bytes::parse(text.trim()).map(Self)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        self.0.0.expose_secret()
    }

    pub(super) fn fingerprint(&self) -> String {
        self.0.fingerprint("digest")
    }
}

struct Bytes(SecretBox<[u8; 32]>);

impl Bytes {
    fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    fn parse(text: &str) -> Result<Self, InvalidKey> {
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| InvalidKey::Bytes)?);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| InvalidKey::Bytes)?;
        Ok(Self::new(bytes))
    }

    /// By which it is known again. A digest of 32 bytes of chance tells nothing of them.
    fn fingerprint(&self, of: &str) -> String {
        let digest = Sha256::new().chain_update("keylend ").chain_update(of).chain_update(" key\0");
        let digest = digest.chain_update(self.0.expose_secret()).finalize();
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_key_is_a_name_and_32_bytes() {
        let key = EncryptionKey::parse(&format!(" 2026-11_a:{KEY} ")).expect("valid");
        assert_eq!((key.name(), key.bytes()[31]), ("2026-11_a", 31));
        assert_eq!(format!("{key:?}"), "EncryptionKey { name: \"2026-11_a\", bytes: .. }");
        assert_eq!(format!("{:?}", DigestKey::parse(KEY).expect("valid")), "DigestKey(..)");
        for (text, why) in [
            (KEY.to_owned(), InvalidKey::Name),
            (format!(":{KEY}"), InvalidKey::Name),
            (format!("a b:{KEY}"), InvalidKey::Name),
            (format!("{}:{KEY}", "a".repeat(41)), InvalidKey::Name),
            ("a:".to_owned(), InvalidKey::Bytes),
            (format!("a:{}", &KEY[4..]), InvalidKey::Bytes),
            (format!("a:AAAA{KEY}"), InvalidKey::Bytes),
            (format!("a:{}", KEY.replace('=', "!")), InvalidKey::Bytes),
        ] {
            assert_eq!(EncryptionKey::parse(&text).expect_err(&text), why);
        }
    }

    #[test]
    fn a_key_is_known_again_by_its_bytes_and_what_it_is_for() {
        let [one, two] = [[1; 32], [2; 32]].map(|bytes| EncryptionKey::new("a", bytes).expect("a name").fingerprint());
        assert_ne!(one, two);
        assert_ne!(one, DigestKey::new([1; 32]).fingerprint());
        assert_eq!(one, EncryptionKey::new("b", [1; 32]).expect("a name").fingerprint());
    }
}
