//! Keys that an operator took out of a pool while its key file still has them: what is kept of them, so that the file
//! does not bring them back.

use sha2::{Digest, Sha256};

use super::vault::Vault;
use crate::domain::{Policy, Secret};

/// The beginning of the names of all that a pool keeps of them.
pub(super) fn prefix(pool: &Policy) -> String {
    format!("removed:{}:", pool.collection)
}

/// The names under which one can be kept, the one that is written first: the pool and a digest, by which nobody finds
/// the secret; keyed, where there is a key for it.
pub(super) fn names(vault: &Vault, pool: &Policy, secret: &Secret) -> Vec<String> {
    let prefix = prefix(pool);
    let digest = Sha256::new().chain_update(&prefix).chain_update(secret.expose()).finalize();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    vault.digest(pool, secret).into_iter().chain([digest]).map(|digest| format!("{prefix}{digest}")).collect()
}
