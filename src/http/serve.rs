//! Serving: connections are accepted, bounded in number and time, and closed well at the end.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::attempts::Peer;
use super::{Frame, Tls, service};
use crate::pool::Pools;

/// The largest head of a request, in bytes.
const HEAD: usize = 64 * 1024;

/// The pause after a connection could not be accepted: mostly files have run out, and come back as others are closed.
const NOT_ACCEPTED: Duration = Duration::from_millis(500);

/// Serves until `frame.stopping` is cancelled; then accepts no more, closes idle connections and lets what is in flight
/// end, at most `frame.limits.drain` long. HTTP/1.1 only, so that every limit here holds for every connection.
pub async fn serve(listener: TcpListener, pools: Pools, frame: Frame) {
    let (stopping, limits, tls) = (frame.stopping.clone(), frame.limits, frame.tls.clone());
    let service = TowerToHyperService::new(service(pools, frame));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD);
    let graceful = GracefulShutdown::new();
    // Those still open are closed when this is dropped.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok((stream, peer)) => {
                    // An answer is one small write: it goes at once. Without it, it only goes later.
                    let _ = stream.set_nodelay(true);
                    // Nobody keeps a connection, and an export behind it, by not reading.
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(limits.piece));
                    let tls = tls.as_ref().map(|tls| tls.borrow().clone());
                    let (http, service, watcher) = (http.clone(), service.clone(), graceful.watcher());
                    connections.spawn(async move {
                        let Some(stream) = encrypted(Box::pin(stream), tls, limits.head).await else { return };
                        let from = Peer(peer.ip());
                        let service = service_fn(move |mut request: Request<Incoming>| {
                            request.extensions_mut().insert(from);
                            service.call(request)
                        });
                        let connection = http.serve_connection(TokioIo::new(stream), service);
                        if let Err(error) = watcher.watch(connection).await {
                            tracing::debug!(%error, "a connection ended early");
                        }
                    });
                }
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted; trying again");
                    sleep(NOT_ACCEPTED).await;
                }
            },
        }
    }
    drop(listener);
    if timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight when the time to stop was over");
    }
}

/// The connection, with TLS where that is set. None = it did not come to that within `limit`, or the caller speaks
/// something else.
async fn encrypted(stream: Plain, tls: Option<Tls>, limit: Duration) -> Option<Either<Plain, TlsStream<Plain>>> {
    let Some(Tls(config)) = tls else { return Some(Either::Left(stream)) };
    match timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => Some(Either::Right(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection could not be encrypted");
            None
        }
        Err(_) => None,
    }
}

/// A connection as it comes.
type Plain = Pin<Box<TimeoutStream<TcpStream>>>;

/// Whether a caller went away before it was accepted: nothing is wrong here.
fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
