//! HTTP: the routes over the pools. Handlers are thin; what goes wrong becomes a problem in one place.
//!
//! A request comes in by `serve` (connections), goes through `service` (its id, its span, panics) and the `gate` (is
//! there such a route, may the caller, is there room, is the body there in time), and is answered by the handler of its
//! resource.

mod attempts;
mod body;
mod caller;
mod docs;
mod events;
mod export;
mod find_usable_key;
mod flask;
mod gate;
mod generate;
mod health;
mod hosts;
mod increment_usage;
mod keys;
mod leases;
mod limits;
mod look_up;
mod metrics;
mod openapi;
mod page;
#[doc(hidden)]
pub mod parsers;
mod prefer;
mod problem;
mod query;
mod recover;
mod reply;
mod request_id;
pub mod routes;
mod serve;
mod service;
mod stats;
mod tls;
mod trace_context;
mod verify;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::domain::Tokens;

pub use hosts::Hosts;
pub use limits::Limits;
pub use problem::codes;
pub use serve::serve;
pub use service::service;
pub use tls::{Tls, TlsError};

/// What holds for all requests.
#[derive(Clone, Debug)]
pub struct Frame {
    /// How much, how many and how long.
    pub limits: Limits,
    /// Who may ask for what, as it is at the moment: what is sent here holds for the next request.
    pub tokens: watch::Receiver<Arc<Tokens>>,
    /// `KEYLEND_OPEN_FLASK`: the older server's routes need no token.
    pub open_flask: bool,
    /// `KEYLEND_HOSTS`: by which names the server may be called.
    pub hosts: Hosts,
    /// `KEYLEND_TLS_CERT`, `KEYLEND_TLS_KEY`: what connections are encrypted with, as it is at the moment; None = they are
    /// not.
    pub tls: Option<watch::Receiver<Tls>>,
    /// Where it is written who did what to which key.
    pub audit: Audit,
    /// Cancelled when the process is to stop: nothing is accepted any more, and the instance is not ready.
    pub stopping: CancellationToken,
}
