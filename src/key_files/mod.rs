//! The key files of the older Flask server: read as people leave them, followed while the service runs, never written.

pub mod read;
pub mod state;
