//! The key files of the older Flask server: read as people leave them, followed while the service runs, never written.

mod follow;
mod gone;
mod look;
pub mod read;
mod stamp;
pub mod state;
mod watch;

pub use follow::{Following, follow};
pub use look::Followed;
