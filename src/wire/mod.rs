//! The requests and replies as they stand in JSON, plain serde. What a request holds is checked when it is turned
//! into the words of the domain, in the file that names it.

pub mod admin;
pub mod events;
pub mod export;
pub mod flask;
pub mod keys;
pub mod leases;
pub mod pools;
pub mod provider;
pub mod record;
mod schema;
pub mod stats;
mod timestamp;
mod whole;
