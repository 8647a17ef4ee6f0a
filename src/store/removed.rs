//! Keys that an operator took out of a pool while its key file still has them: what is kept of them, so that the file
//! does not bring them back.

use sha2::{Digest, Sha256};

use crate::domain::{Policy, Secret};

/// The beginning of the names of all that a pool keeps of them.
pub(super) fn prefix(pool: &Policy) -> String {
    format!("removed:{}:", pool.collection)
}

/// The name under which one is kept: the pool and a digest, by which nobody finds the secret.
pub(super) fn name(pool: &Policy, secret: &Secret) -> String {
    let prefix = prefix(pool);
    let digest = Sha256::new().chain_update(&prefix).chain_update(secret.expose()).finalize();
    digest.iter().fold(prefix, |name, byte| name + &format!("{byte:02x}"))
}
