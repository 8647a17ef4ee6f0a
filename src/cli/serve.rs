//! `keylend serve`

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Failure, store};
use crate::config::Settings;
use crate::domain::State;
use crate::http::{self, Limits};
use crate::pool::{self, Pools};
use crate::shutdown;

/// How long requests in flight have to end once the process is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// The largest list of keys sent as text: 256 MiB.
const IMPORT_LIMIT: u64 = 256 * 1024 * 1024;

/// The first and the longest pause between two tries to reach a store that is not there yet.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

pub(super) async fn serve(settings: &Settings) -> Result<(), Failure> {
    let listener = listen(settings.listen).await?;
    let pools = store::pools(settings).await?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "serving without tokens (--insecure-open): whoever reaches the address gets keys");
    }
    let stop = CancellationToken::new();
    let limits = Limits { body: settings.body_limit, import: IMPORT_LIMIT };
    let server = http::serve(listener, pools.clone(), limits, stop.clone().cancelled_owned(), DRAIN);
    let server = tokio::spawn(server);
    let sweeping = tokio::spawn({
        let (pools, stop) = (pools.clone(), stop.clone());
        async move {
            tokio::select! {
                () = stop.cancelled() => return,
                () = prepare(&pools, address) => {}
            }
            pool::sweep_until(pools, stop.cancelled()).await;
        }
    });
    let signal = shutdown::signalled().await?;
    tracing::info!(event = "stopping", signal, "no more requests are accepted");
    stop.cancel();
    let _ = server.await;
    let _ = sweeping.await;
    // Leases that nobody could be told of go back before the process ends.
    pools.settle(DRAIN).await;
    tracing::info!(event = "stopped", "stopped");
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "is in use: stop the program that holds it, or name another with KEYLEND_LISTEN"
            }
            io::ErrorKind::PermissionDenied => "may not be used: name one with a port from 1024 with KEYLEND_LISTEN",
            io::ErrorKind::AddrNotAvailable => "is not this machine's: name another with KEYLEND_LISTEN",
            _ => "cannot be used: name another with KEYLEND_LISTEN",
        };
        Failure::Failed(format!("the address {address} {why}"))
    })
}

/// Prepares the store, as often as it takes. Requests are answered meanwhile: that the store is not available.
async fn prepare(pools: &Pools, address: SocketAddr) {
    let mut pause = BACK_OFF.0;
    loop {
        match pools.prepare().await {
            Ok(notices) => {
                for notice in notices {
                    tracing::warn!("{notice}");
                }
                return announce(pools, address).await;
            }
            Err(error) => {
                tracing::warn!(
                    event = "store_lost",
                    store = pools.store(),
                    error = error.chain(),
                    %address,
                    "waiting for the store"
                );
            }
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(BACK_OFF.1);
    }
}

/// One line that says what is served, where, and to whom.
async fn announce(pools: &Pools, address: SocketAddr) {
    let mut usable = Vec::new();
    for pool in pools.all() {
        let keys = pool.stats().await.map(|stats| stats.keys.of(State::Usable).to_string());
        usable.push(format!("{} {}", pool.policy().name, keys.unwrap_or_else(|_| "?".to_owned())));
    }
    tracing::info!(
        event = "started",
        store = pools.store(),
        usable = usable.join(", "),
        %address,
        tokens = "none needed",
        "serving keys"
    );
}
