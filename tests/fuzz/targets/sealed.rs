//! Secrets at rest: the keys as they are set, and what is stored of an encrypted secret. Of an input the first line is the
//! text of `api_key`, the second the name of a key, the rest what was encrypted; and all of it a list of keys.

use keylend::domain::secret::STANDS_FOR;
use keylend::domain::{KeyId, Policy, Secret};
use keylend::store::vault::{DigestKey, EncryptionKey, InvalidKey, Stored, Vault};

use super::{assert_secret, assert_untold, written_out};

const ID: KeyId = KeyId::from_bytes([7; 12]);

/// Nothing opens but what was sealed, and it opens to the secret that it was; a key that is taken has a name within its
/// limits, and no fault tells anything of one.
pub fn sealed(input: &[u8]) {
    let input = written_out(input);
    if let Ok(text) = std::str::from_utf8(&input) {
        keys(text);
    }
    let (vault, [pool, ..]) = (vault(), Policy::built_in().map(|pool| Policy { encrypt: true, ..pool }));
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let (api_key, by) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (Ok(api_key), Ok(by)) = (std::str::from_utf8(api_key), std::str::from_utf8(by)) else { return };
    let stored = Stored { api_key, sealed: parts.next(), sealed_by: Some(by), unreadable: None };
    match vault.open(&pool, ID, stored) {
        Ok(secret) => {
            // No fuzzer finds what only the key can make.
            assert!(!api_key.starts_with(STANDS_FOR), "something else than what was sealed opened");
            assert_eq!(secret.expose(), api_key);
            assert_secret(&secret);
            opens_again(&vault, &pool, &secret);
        }
        Err(why) => {
            assert_untold(&why.to_string());
            assert!(api_key.starts_with(STANDS_FOR) || Secret::parse(api_key).is_err());
        }
    }
}

fn vault() -> Vault {
    let key = EncryptionKey::new("a", [1; 32]).expect("a name");
    Vault::new(vec![key], DigestKey::new([2; 32]))
}

/// A secret is sealed and opened again with nothing lost; another document does not open it.
fn opens_again(vault: &Vault, pool: &Policy, secret: &Secret) {
    let kept = vault.keep(pool, ID, secret);
    let (bytes, by) = kept.sealed.expect("the pool is encrypted");
    assert_untold(&kept.api_key);
    let stored = Stored { api_key: &kept.api_key, sealed: Some(&bytes), sealed_by: Some(&by), unreadable: None };
    assert_eq!(vault.open(pool, ID, stored).expect("as it was sealed").expose(), secret.expose());
    assert!(vault.open(pool, KeyId::from_bytes([8; 12]), stored).is_err());
    assert_eq!(vault.texts(pool, secret)[0], kept.api_key);
}

fn keys(text: &str) {
    for entry in text.split([',', '\n']) {
        let told = match EncryptionKey::parse(entry) {
            Ok(key) => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                assert!((1..=40).contains(&key.name().len()) && key.name().bytes().all(fits));
                format!("{key:?}").replace(key.name(), "")
            }
            Err(why @ (InvalidKey::Name | InvalidKey::Bytes)) => why.to_string(),
        };
        assert_untold(&told);
        let told = DigestKey::parse(entry).map_or_else(|why| why.to_string(), |key| format!("{key:?}"));
        assert_untold(&told);
    }
}
