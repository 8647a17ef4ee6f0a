//! How the bot is, for containers: `/livez` says that the process runs, `/readyz` that it is connected to Discord.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// How many connections there are at once.
const CONNECTIONS: usize = 32;

/// How long one connection may take, from the first byte to the last.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The pause after a connection could not be accepted.
const NOT_ACCEPTED: Duration = Duration::from_millis(500);

/// What is known of the bot.
#[derive(Clone)]
pub(crate) struct Health {
    /// Whether it is connected to Discord.
    pub(crate) connected: watch::Receiver<bool>,
    /// Whether the last look found statistics; None before the first.
    pub(crate) found: watch::Receiver<Option<bool>>,
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: TcpListener, health: Health) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(NOT_ACCEPTED).await;
            continue;
        };
        let health = health.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| std::future::ready(Ok::<_, Infallible>(health.answer(&request))));
            let mut http = http1::Builder::new();
            let connection = http.timer(TokioTimer::new()).keep_alive(false);
            let connection = connection.serve_connection(TokioIo::new(stream), answer);
            // Who leaves early is nobody's concern.
            let _ = timeout(TIME_LIMIT, connection).await;
            drop(place);
        });
    }
}

impl Health {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let known = matches!(request.uri().path(), "/livez" | "/readyz");
        let (status, body) = match request.method() {
            &Method::GET | &Method::HEAD if known => self.state(request.uri().path() == "/readyz"),
            _ if known => (StatusCode::METHOD_NOT_ALLOWED, json!({"status": "ask by GET"})),
            _ => (StatusCode::NOT_FOUND, json!({"status": "there are /livez and /readyz"})),
        };
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        let json = hyper::header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
        response
    }

    fn state(&self, is_readiness: bool) -> (StatusCode, Value) {
        if !is_readiness {
            return (StatusCode::OK, json!({"status": "up"}));
        }
        let connected = *self.connected.borrow();
        let stats = match *self.found.borrow() {
            None => "unknown",
            Some(true) => "ok",
            Some(false) => "away",
        };
        let status = if connected { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let words = if connected { ("ready", "connected") } else { ("not ready", "not connected") };
        (status, json!({"status": words.0, "discord": words.1, "stats": stats}))
    }
}
