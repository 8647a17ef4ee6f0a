//! How secrets are kept at rest: as they are, or, where their pool says so, encrypted and told by a keyed digest.
//!
//! An encrypted key has [`STANDS_FOR`] and the digest of its secret in `api_key`, so that the index on it keeps secrets
//! unique and finds them as before; the secret itself is in `sealed`, by the key that `sealed_by` names. Pool, id and
//! digest are bound in: moved to another document, it does not decrypt. The digest has a key of its own, so that other
//! encryption keys change none.

mod keys;

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use secrecy::zeroize::Zeroizing;
use sha2::Sha256;
use thiserror::Error;

pub use keys::{DigestKey, EncryptionKey, InvalidKey};

use crate::domain::secret::STANDS_FOR;
use crate::domain::{KeyId, Policy, Secret};

/// The first byte of what is sealed: how it was.
const VERSION: u8 = 1;

/// From where to where texts that stand for a secret are, in the order of texts.
pub(super) const RANGE: [&str; 2] = [STANDS_FOR, "keylend-sealed;"];

/// The sizes of what stands before and behind the encrypted text, in bytes. So long a nonce may be chosen by chance for
/// any number of keys.
const NONCE: usize = 24;
const TAG: usize = 16;

/// The keys by which secrets are kept. A cheap handle; without keys, what is encrypted cannot be read.
#[derive(Clone, Default)]
pub struct Vault(Option<Arc<Keys>>);

struct Keys {
    /// The first one encrypts, all decrypt.
    encryption: Vec<EncryptionKey>,
    digest: DigestKey,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// A secret as it is kept.
pub struct Kept {
    /// The secret itself, or what stands for it.
    pub api_key: String,
    /// The encrypted secret, and the name of its key.
    pub sealed: Option<(Vec<u8>, String)>,
}

/// What is read of a kept secret, whoever wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The text of `api_key`.
    pub api_key: &'a str,
    /// `sealed`, where it is bytes.
    pub sealed: Option<&'a [u8]>,
    /// `sealed_by`, where it is text.
    pub sealed_by: Option<&'a str>,
    /// `unreadable`, where it is bytes: what did not decrypt before.
    pub unreadable: Option<&'a [u8]>,
}

impl Stored<'_> {
    /// Whether its bytes did not decrypt before.
    pub fn is_given_up(&self) -> bool {
        self.api_key.starts_with(STANDS_FOR) && self.sealed.is_some() && self.sealed == self.unreadable
    }
}

/// Why no secret comes out of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotOpened {
    /// There is none: the text is no secret, and stands for none.
    #[error("api_key is no key, and nothing is encrypted beside it")]
    NoSecret,
    /// This instance does not have the key that it was encrypted with.
    #[error("it is encrypted with a key that KEYLEND_ENCRYPTION_KEYS does not have")]
    UnknownKey,
    /// It was changed, or is another document's.
    #[error("it does not decrypt: it was changed, or belongs to another document")]
    Unreadable,
}

impl NotOpened {
    /// Tells of a key whose secret cannot be read from now on.
    pub(super) fn tell(self, pool: &Policy, id: KeyId) {
        tracing::warn!(
            event = "key_unreadable",
            pool = %pool.name,
            key.id = %id,
            error = %self,
            "the key is invalid: its secret cannot be read"
        );
    }
}

/// What to say where a pool holds encrypted keys and this instance has none: what it added would stand there twice.
pub(super) fn no_keys(pool: &Policy) -> String {
    format!(
        "pool {}: its keys are encrypted: set KEYLEND_ENCRYPTION_KEYS and KEYLEND_DIGEST_KEY as all instances on this store \
         have them",
        pool.name
    )
}

/// What to say of a key that is another one than was recorded under this name; and the setting that it comes from.
pub(super) fn other_key(name: &str, setting: &str) -> String {
    match name.split_once(':') {
        Some((_, id)) => format!(
            "{setting}: {id} is another key than the one that the store knows by this ID: give the ID its key back, and \
             the new key another ID"
        ),
        None => format!(
            "{setting} is another key than the store's: with it no key would be found by its secret, and each could be \
             added twice. Give it its old value back"
        ),
    }
}

impl Vault {
    /// The vault of these keys, of which the first encrypts. Without one it has no keys at all.
    pub fn new(encryption: Vec<EncryptionKey>, digest: DigestKey) -> Self {
        let is_any = !encryption.is_empty();
        Self(is_any.then(|| Arc::new(Keys { encryption, digest })))
    }

    /// Whether there are keys.
    pub fn has_keys(&self) -> bool {
        self.0.is_some()
    }

    /// The names of its encryption keys, the one that encrypts first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|keys| keys.encryption.iter().map(EncryptionKey::name))
    }

    /// Under which name each key is recorded in a store, what it is known by there, and the setting that it comes from.
    pub(super) fn recorded(&self) -> Vec<(String, String, &'static str)> {
        let Some(keys) = &self.0 else { return Vec::new() };
        let encryption = keys
            .encryption
            .iter()
            .map(|key| (format!("encryption_key:{}", key.name()), key.fingerprint(), "KEYLEND_ENCRYPTION_KEYS"));
        let digest = ("digest_key".to_owned(), keys.digest.fingerprint(), "KEYLEND_DIGEST_KEY");
        encryption.chain([digest]).collect()
    }

    /// Keeps a secret as its pool wants it.
    pub fn keep(&self, pool: &Policy, id: KeyId, secret: &Secret) -> Kept {
        match &self.0 {
            Some(keys) if pool.encrypt => keys.seal(pool, id, secret),
            _ => self.plain(secret),
        }
    }

    /// Keeps a secret as it is, whatever its pool wants.
    pub fn plain(&self, secret: &Secret) -> Kept {
        Kept { api_key: secret.expose().to_owned(), sealed: None }
    }

    /// Keeps a secret encrypted, whatever its pool wants. None = there are no keys.
    pub fn seal(&self, pool: &Policy, id: KeyId, secret: &Secret) -> Option<Kept> {
        Some(self.0.as_ref()?.seal(pool, id, secret))
    }

    /// The texts that can stand in `api_key` for this secret, the one that the pool wants first.
    pub fn texts(&self, pool: &Policy, secret: &Secret) -> Vec<String> {
        let plain = secret.expose().to_owned();
        match &self.0 {
            None => vec![plain],
            Some(keys) if pool.encrypt => vec![keys.digest.text(pool, secret), plain],
            Some(keys) => vec![plain, keys.digest.text(pool, secret)],
        }
    }

    /// Whether a secret of this pool can be kept under more than one text.
    pub fn has_two_texts(&self) -> bool {
        self.has_keys()
    }

    /// The secret in what is stored of the key with this id, unless its bytes did not decrypt before.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open(&self, pool: &Policy, id: KeyId, stored: Stored<'_>) -> Result<Secret, NotOpened> {
        if stored.is_given_up() {
            return Err(NotOpened::Unreadable);
        }
        self.open_anew(pool, id, stored)
    }

    /// The same, whatever became of it before: what was in the way, such as another key or name of the pool, may be gone.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open_anew(&self, pool: &Policy, id: KeyId, stored: Stored<'_>) -> Result<Secret, NotOpened> {
        if !stored.api_key.starts_with(STANDS_FOR) {
            return Secret::parse(stored.api_key).map_err(|_| NotOpened::NoSecret);
        }
        let (Some(sealed), Some(by)) = (stored.sealed, stored.sealed_by) else { return Err(NotOpened::NoSecret) };
        let key = self.0.iter().flat_map(|keys| &keys.encryption).find(|key| key.name() == by);
        let key = key.ok_or(NotOpened::UnknownKey)?;
        unseal(key, &bound(pool, id, stored.api_key), sealed).ok_or(NotOpened::Unreadable)
    }
}

impl Keys {
    fn seal(&self, pool: &Policy, id: KeyId, secret: &Secret) -> Kept {
        let key = &self.encryption[0];
        let api_key = self.digest.text(pool, secret);
        let nonce: [u8; NONCE] = rand::random();
        let text = secret.expose().as_bytes();
        let mut sealed = Vec::with_capacity(1 + NONCE + text.len() + TAG);
        sealed.push(VERSION);
        sealed.extend(nonce);
        sealed.extend(text);
        let tag = XChaCha20Poly1305::new(key.bytes().into())
            .encrypt_inout_detached(
                &XNonce::from(nonce),
                &bound(pool, id, &api_key),
                InOutBuf::from(&mut sealed[1 + NONCE..]),
            )
            .expect("a secret is far shorter than what one nonce can encrypt");
        sealed.extend(tag);
        Kept { api_key, sealed: Some((sealed, key.name().to_owned())) }
    }
}

/// The secret in these bytes; None where they were not sealed by this key for what is bound in.
fn unseal(key: &EncryptionKey, bound: &[u8], sealed: &[u8]) -> Option<Secret> {
    let (version, rest) = sealed.split_first()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
    let (text, tag) = rest.split_last_chunk::<TAG>()?;
    if *version != VERSION {
        return None;
    }
    let mut text = Zeroizing::new(text.to_vec());
    XChaCha20Poly1305::new(key.bytes().into())
        .decrypt_inout_detached(&XNonce::from(*nonce), bound, InOutBuf::from(&mut text[..]), &Tag::from(*tag))
        .ok()?;
    Secret::parse(std::str::from_utf8(&text).ok()?).ok()
}

/// What is bound to an encrypted secret. Names of pools have no NUL.
fn bound(pool: &Policy, id: KeyId, api_key: &str) -> Vec<u8> {
    [b"keylend api_key\0", pool.name.as_str().as_bytes(), b"\0", &id.bytes(), api_key.as_bytes()].concat()
}

impl DigestKey {
    /// What stands in `api_key` for a secret of this pool.
    fn text(&self, pool: &Policy, secret: &Secret) -> String {
        format!("{STANDS_FOR}{}", self.hex(pool, secret))
    }

    fn hex(&self, pool: &Policy, secret: &Secret) -> String {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(self.bytes()).expect("any length is a key");
        for part in [pool.name.as_str().as_bytes(), b"\0", secret.expose().as_bytes()] {
            mac.update(part);
        }
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Picks;
    use proptest::prelude::*;

    fn vault(names: &[&str]) -> Vault {
        let key = |name: &&str| {
            let mut bytes = [7; 32];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            EncryptionKey::new(name, bytes).expect("a name")
        };
        Vault::new(names.iter().map(key).collect(), DigestKey::new([3; 32]))
    }

    fn pool(name: &str) -> Policy {
        Policy { encrypt: true, ..Policy::new(name.parse().expect("a name"), Picks::InOrder, 1) }
    }

    fn id(number: u8) -> KeyId {
        KeyId::from_bytes([number; 12])
    }

    fn secret(text: &str) -> Secret {
        Secret::parse(text).expect("valid")
    }

    fn stored(kept: &Kept) -> Stored<'_> {
        let sealed = kept.sealed.as_ref();
        Stored {
            api_key: &kept.api_key,
            sealed: sealed.map(|(bytes, _)| bytes.as_slice()),
            sealed_by: sealed.map(|(_, by)| by.as_str()),
            unreadable: None,
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_own_document_only() {
        let (vault, mine) = (vault(&["b", "a"]), pool("mine"));
        let kept = vault.keep(&mine, id(1), &secret("sk-recognisable"));
        let text = format!("{:?}", stored(&kept));
        assert!(kept.api_key.starts_with(STANDS_FOR) && !text.contains("recognisable"), "{text}");
        assert_eq!(kept.sealed.as_ref().expect("sealed").1, "b");
        let open = |vault: &Vault, pool: &Policy, id, stored| {
            vault.open(pool, id, stored).map(|secret| secret.expose().to_owned())
        };
        assert_eq!(open(&vault, &mine, id(1), stored(&kept)), Ok("sk-recognisable".to_owned()));
        assert_eq!(open(&vault, &mine, id(2), stored(&kept)), Err(NotOpened::Unreadable));
        assert_eq!(open(&vault, &pool("theirs"), id(1), stored(&kept)), Err(NotOpened::Unreadable));
        let other = vault.keep(&mine, id(1), &secret("sk-other"));
        let swapped = Stored { api_key: &other.api_key, ..stored(&kept) };
        assert_eq!(open(&vault, &mine, id(1), swapped), Err(NotOpened::Unreadable));
        assert_eq!(
            open(&vault, &mine, id(1), Stored { sealed_by: Some("a"), ..stored(&kept) }),
            Err(NotOpened::Unreadable)
        );
        assert_eq!(
            open(&vault, &mine, id(1), Stored { sealed_by: Some("c"), ..stored(&kept) }),
            Err(NotOpened::UnknownKey)
        );
        assert_eq!(open(&vault, &mine, id(1), Stored { sealed: None, ..stored(&kept) }), Err(NotOpened::NoSecret));
        assert_eq!(open(&Vault::default(), &mine, id(1), stored(&kept)), Err(NotOpened::UnknownKey));
        let given_up = Stored { unreadable: stored(&kept).sealed, ..stored(&kept) };
        assert_eq!(open(&vault, &mine, id(1), given_up), Err(NotOpened::Unreadable));
        assert!(vault.open_anew(&mine, id(1), given_up).is_ok());
    }

    #[test]
    fn a_pool_that_is_not_encrypted_keeps_the_text() {
        let plain = Policy { encrypt: false, ..pool("mine") };
        let kept = vault(&["a"]).keep(&plain, id(1), &secret("sk-1"));
        assert_eq!((kept.api_key.as_str(), kept.sealed.is_none()), ("sk-1", true));
        let opened = Vault::default().open(&plain, id(1), stored(&kept)).expect("plain");
        assert_eq!(opened.expose(), "sk-1");
        let no_secret = Stored { api_key: "a b", sealed: None, sealed_by: None, unreadable: None };
        assert_eq!(vault(&["a"]).open(&plain, id(1), no_secret).unwrap_err(), NotOpened::NoSecret);
    }

    #[test]
    fn one_digest_stands_for_a_secret_whichever_key_encrypts_it() {
        let (mine, one) = (pool("mine"), secret("sk-1"));
        let [before, after] = [&["a"][..], &["b", "a"]].map(|names| vault(names).keep(&mine, id(1), &one));
        assert_eq!(before.api_key, after.api_key);
        assert_ne!(before.sealed.map(|(bytes, _)| bytes), after.sealed.map(|(bytes, _)| bytes));
        assert_eq!(vault(&["a"]).texts(&mine, &one), [before.api_key.clone(), "sk-1".to_owned()]);
        assert_ne!(vault(&["a"]).texts(&pool("theirs"), &one)[0], before.api_key);
        assert_eq!(Vault::default().texts(&mine, &one), ["sk-1"]);
    }

    #[test]
    fn what_stands_for_a_secret_is_in_its_range() {
        let text = &vault(&["a"]).texts(&pool("mine"), &secret("sk-1"))[0];
        assert!((RANGE[0]..RANGE[1]).contains(&text.as_str()));
        assert!(!(RANGE[0]..RANGE[1]).contains(&"keylend-seal") && !(RANGE[0]..RANGE[1]).contains(&"sk-1"));
    }

    #[test]
    fn keys_are_recorded_by_what_tells_nothing_of_them() {
        let recorded = vault(&["a", "b"]).recorded();
        let names: Vec<&str> = recorded.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["encryption_key:a", "encryption_key:b", "digest_key"]);
        let other =
            Vault::new(vec![EncryptionKey::new("a", [8; 32]).expect("a name")], DigestKey::new([4; 32])).recorded();
        assert_ne!(recorded[0].1, other[0].1);
        assert_ne!(recorded[2].1, other[1].1);
        assert!(Vault::default().recorded().is_empty());
    }

    proptest! {
        #[test]
        fn any_secret_comes_back_and_no_changed_byte_passes(text in "[!-~]{1,200}", at: prop::sample::Index, flip in 1u8..) {
            let (vault, mine) = (vault(&["a"]), pool("mine"));
            prop_assume!(Secret::parse(&text).is_ok());
            let mut kept = vault.keep(&mine, id(1), &secret(&text));
            let opened = vault.open(&mine, id(1), stored(&kept)).expect("as it was sealed");
            prop_assert_eq!(opened.expose(), text);
            let bytes = &mut kept.sealed.as_mut().expect("sealed").0;
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(vault.open(&mine, id(1), stored(&kept)).unwrap_err(), NotOpened::Unreadable);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let text = format!("{STANDS_FOR}{}", "0".repeat(64));
            let odd = Stored { api_key: &text, sealed: Some(&bytes), sealed_by: Some("a"), unreadable: None };
            prop_assert_eq!(vault(&["a"]).open(&pool("mine"), id(1), odd).unwrap_err(), NotOpened::Unreadable);
        }
    }
}
