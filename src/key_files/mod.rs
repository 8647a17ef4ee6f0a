//! The key files of the older Flask server: read as people leave them, followed while the service runs, never written.

pub mod read;
pub mod state;

use sha2::{Digest, Sha256};

use crate::domain::Secret;

/// Enough of a secret's digest to tell it from a million others.
fn digest(secret: &Secret) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(secret.expose()).into();
    std::array::from_fn(|index| digest[index])
}
