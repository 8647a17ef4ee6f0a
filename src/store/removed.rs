//! Keys that an operator took out of a pool while its key file still has them: what is kept of them, so that the file
//! does not bring them back.

use sha2::{Digest, Sha256};

use super::vault::Vault;
use crate::domain::secret::STANDS_FOR;
use crate::domain::{Policy, Secret};

/// The beginning of the names of all that a pool keeps of them.
pub(super) fn prefix(pool: &Policy) -> String {
    format!("removed:{}:", pool.collection)
}

/// The names under which one can be kept: the pool and a digest, by which nobody finds the secret; keyed, where there is a
/// key for it.
pub(super) fn names(vault: &Vault, pool: &Policy, secret: &Secret) -> Vec<String> {
    vault.texts(pool, secret).iter().map(|api_key| name(pool, api_key)).collect()
}

/// The name of one that was kept under this text: an encrypted one has its digest there already.
pub(super) fn name(pool: &Policy, api_key: &str) -> String {
    let prefix = prefix(pool);
    let digest = match api_key.strip_prefix(STANDS_FOR) {
        Some(digest) => digest.to_owned(),
        None => {
            let digest = Sha256::new().chain_update(&prefix).chain_update(api_key).finalize();
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        }
    };
    prefix + &digest
}
