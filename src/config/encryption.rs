//! The keys for secrets at rest: those of `KEYLEND_ENCRYPTION_KEYS`, and `KEYLEND_DIGEST_KEY`.

use super::Fault;
use crate::domain::Policy;
use crate::store::vault::{DigestKey, EncryptionKey, Vault};

const KEYS: &str = "KEYLEND_ENCRYPTION_KEYS";
const DIGEST: &str = "KEYLEND_DIGEST_KEY";

/// The vault of these keys, of which the entries are separated by commas or newlines; one without keys where none are
/// set. A pool that is to be encrypted needs them.
pub(super) fn read(entries: Option<&str>, digest: Option<&str>, pools: &[Policy], faults: &mut Vec<Fault>) -> Vault {
    let before = faults.len();
    let keys = entries.map(|entries| encryption_keys(entries, faults)).unwrap_or_default();
    let digest = digest
        .and_then(|text| DigestKey::parse(text).map_err(|why| faults.push(Fault::new(DIGEST, why.to_string()))).ok());
    if faults.len() > before {
        return Vault::default();
    }
    match (keys.is_empty(), digest) {
        (false, Some(digest)) => return Vault::new(keys, digest),
        (false, None) => faults.push(Fault::new(
            DIGEST,
            format!(
                "it is not set, and {KEYS} is: the digests that keep encrypted keys unique need a key of their own, \
                     which never changes; `openssl rand -base64 32` makes one"
            ),
        )),
        (true, Some(_)) => faults.push(Fault::new(KEYS, format!("it is not set, and {DIGEST} is: they go together"))),
        (true, None) => {}
    }
    if let Some(pool) = pools.iter().find(|pool| pool.encrypt).filter(|_| faults.len() == before) {
        let advice = format!(
            "it is not set, and pool {} has encrypt = true: set it to ID:KEY, the KEY as `openssl rand -base64 32` makes \
             one, and {DIGEST} to another such key",
            pool.name
        );
        faults.push(Fault::new(KEYS, advice));
    }
    Vault::default()
}

fn encryption_keys(entries: &str, faults: &mut Vec<Fault>) -> Vec<EncryptionKey> {
    let mut keys: Vec<EncryptionKey> = Vec::new();
    let entries = entries.split([',', '\n']).filter(|entry| !entry.trim().is_empty());
    for (number, entry) in (1..).zip(entries) {
        let mut fault = |advice: String| faults.push(Fault::new(KEYS, format!("entry {number}: {advice}")));
        match EncryptionKey::parse(entry) {
            Ok(key) if keys.iter().any(|other| other.name() == key.name()) => {
                fault("its ID is another entry's as well: give each key its own".to_owned());
            }
            Ok(key) => keys.push(key),
            Err(why) => fault(why.to_string()),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read_with(entries: Option<&str>, digest: Option<&str>, encrypt: bool) -> Result<Vault, String> {
        let pools = Policy::built_in().map(|pool| Policy { encrypt, ..pool });
        let mut faults = Vec::new();
        let vault = read(entries, digest, &pools, &mut faults);
        let told: Vec<String> = faults.iter().map(Fault::to_string).collect();
        if told.is_empty() { Ok(vault) } else { Err(told.join("\n")) }
    }

    #[test]
    fn the_first_key_encrypts_and_all_are_known_by_their_names() {
        let entries = format!("b:{KEY},a:{KEY}\n");
        let vault = read_with(Some(&entries), Some(KEY), true).expect("valid");
        assert_eq!(vault.names().collect::<Vec<_>>(), ["b", "a"]);
        assert!(!read_with(None, None, false).expect("valid").has_keys());
    }

    #[test]
    fn what_is_wrong_with_keys_is_told_without_them() {
        let good = format!("a:{KEY}");
        for (entries, digest, encrypt, expected) in [
            (
                Some("a:hush"),
                Some(KEY),
                true,
                "KEYLEND_ENCRYPTION_KEYS: entry 1: the key must be the base64 of 32 bytes",
            ),
            (Some("hush"), Some(KEY), true, "KEYLEND_ENCRYPTION_KEYS: entry 1: it is ID:KEY"),
            (Some(good.as_str()), Some("hush"), true, "KEYLEND_DIGEST_KEY: the key must be the base64 of 32 bytes"),
            (Some(good.as_str()), None, true, "KEYLEND_DIGEST_KEY: it is not set"),
            (None, Some(KEY), false, "KEYLEND_ENCRYPTION_KEYS: it is not set"),
            (None, None, true, "KEYLEND_ENCRYPTION_KEYS: it is not set, and pool stability has encrypt = true"),
        ] {
            let told = read_with(entries, digest, encrypt).expect_err(expected);
            assert!(told.starts_with(expected) && !told.contains("hush") && !told.contains('\n'), "{told}");
        }
        let twice = format!("a:{KEY},a:{KEY}");
        let told = read_with(Some(&twice), Some(KEY), true).expect_err("a fault");
        assert!(told.contains("entry 2: its ID is another entry's as well"), "{told}");
    }
}
