//! The key files of the older Flask server: read as people leave them, followed while the service runs, never written.

mod follow;
mod gone;
mod look;
pub mod read;
mod stamp;
pub mod state;
mod watch;

use sha2::{Digest, Sha256};

pub use follow::{Following, follow};
pub use look::Followed;

use crate::domain::Secret;

/// Enough of a secret's digest to tell it from a million others.
type LineDigest = [u8; 16];

fn digest(secret: &Secret) -> LineDigest {
    let digest: [u8; 32] = Sha256::digest(secret.expose()).into();
    std::array::from_fn(|index| digest[index])
}
