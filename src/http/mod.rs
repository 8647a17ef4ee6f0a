//! HTTP: the routes over the pools. Handlers are thin; what goes wrong becomes a problem in one place.

mod body;
mod export;
mod find_usable_key;
mod health;
mod increment_usage;
mod keys;
mod leases;
mod look_up;
mod problem;
mod query;
mod recover;
mod reply;
pub mod routes;
mod stats;

use std::time::Duration;

use tokio::net::TcpListener;

use crate::pool::Pools;

pub use routes::routes;

/// How large requests may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a JSON body.
    pub body: usize,
    /// Bytes of keys sent as text, which are read piece by piece.
    pub import: u64,
}

/// Serves until `shutdown` is ready; then accepts no more and lets what is in flight end, at most `drain` long.
pub async fn serve(
    listener: TcpListener,
    pools: Pools,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
    drain: Duration,
) {
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let signal = async move {
        shutdown.await;
        let _ = stopping.send(());
    };
    let server = warp::serve(routes(pools, limits)).incoming(listener).graceful(signal).run();
    let drained = async {
        let _ = stopped.await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        () = server => {}
        () = drained => tracing::warn!("requests were still in flight when the time to stop was over"),
    }
}
