//! What holds for all requests, whichever route they are for: seen on the socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keylend::domain::{NewKey, Policy, Secret};
use keylend::http::{self, Frame, Limits};
use keylend::pool::Pools;
use keylend::store::Store;
use keylend::store::sqlite::SqliteStore;
use keylend::store::vault::Vault;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::faulty::{Faulty, Stall};
use crate::server::{frame, limits};

const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than any test: what takes so long is not over for this reason.
const LONG: Duration = Duration::from_secs(3600);

/// So short that it is over soon, wherever a test makes something take longer.
const SHORT: Duration = Duration::from_millis(50);

const LOOK_UP: &str = "/v1/pools/stability/look_up";

/// A server on a socket, over a store that can be held up, with the key `sk-0` in its pool.
struct Serving {
    address: String,
    client: Client,
    store: Arc<Faulty>,
    pools: Pools,
    frame: Frame,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Serving {
    async fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = SqliteStore::open(&folder.path().join("keylend.db"), PATIENCE, Vault::default()).await.unwrap();
        let store = Arc::new(Faulty::new(sqlite));
        let pools = Pools::new(Arc::clone(&store) as Arc<dyn Store>, Policy::built_in(), LONG);
        pools.prepare().await.unwrap();
        let key = NewKey::fresh(Secret::parse("sk-0").unwrap());
        pools.get("stability").unwrap().add(&[key]).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let frame = frame(limits).0;
        let server = tokio::spawn(http::serve(listener, pools.clone(), frame.clone()));
        Self { address, client: Client::new(), store, pools, frame, server, _folder: folder }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).timeout(PATIENCE)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    fn look_up(&self) -> impl Future<Output = Response> + Send + 'static {
        let request = self.request(Method::POST, LOOK_UP).json(&json!({"api_key": "sk-0"}));
        async { request.send().await.unwrap() }
    }

    /// What is answered to these bytes until the connection is closed.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        // A server that has had enough may close it before all is written.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
        if let Err(error) = read {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn stop(self) {
        self.frame.stopping.cancel();
        self.store.heal();
        tokio::time::timeout(PATIENCE, self.server).await.expect("an end").unwrap();
    }
}

/// Asserts that an answer is this problem.
async fn is_problem(answer: Response, status: u16, code: &str) {
    let retry_after = answer.headers().get("retry-after").cloned();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("x-request-id"));
    assert_eq!(answer.status(), status);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(retry_after.map(|value| value.to_str().unwrap().to_owned()).as_deref(), (status == 503).then_some("1"));
}

/// Asks on an open connection whether the server is up, and reads all of the answer.
async fn is_alive(stream: &mut TcpStream) {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("an answer").unwrap();
        assert!(read > 0, "{}", answer.escape_ascii());
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
}

async fn until<F: Future<Output = bool>>(what: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !what().await {
        assert!(Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_id_of_its_request() {
    let serving = Serving::start(limits()).await;
    for path in ["/livez", "/nothing", "/v1/pools", "/v1/pools/nothing/stats"] {
        let with = async |id: &str| {
            let answer = serving.request(Method::GET, path).header("x-request-id", id).send().await.unwrap();
            answer.headers()["x-request-id"].to_str().unwrap().to_owned()
        };
        assert_eq!(with("Root=1-6789/a.b:c+d_e").await, "Root=1-6789/a.b:c+d_e", "{path}");
        for insane in ["", "a b", "a\"b", &"x".repeat(129)] {
            let made = with(insane).await;
            assert!(made.len() == 32 && made != insane, "{path}: {made}");
        }
        let (one, other) = (serving.get(path).await, serving.get(path).await);
        assert_ne!(one.headers()["x-request-id"], other.headers()["x-request-id"]);
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_answered_as_a_get_without_its_body() {
    let serving = Serving::start(limits()).await;
    for path in ["/livez", "/readyz", "/v1/pools", "/v1/stats", "/v1/pools/stability/keys", "/v1/pools/nothing/stats"] {
        let (get, head) = (serving.get(path).await, serving.request(Method::HEAD, path).send().await.unwrap());
        assert_eq!(
            (get.status(), get.headers()["content-type"].clone()),
            (head.status(), head.headers()["content-type"].clone())
        );
        assert!(head.bytes().await.unwrap().is_empty() && !get.bytes().await.unwrap().is_empty(), "{path}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_requests_are_answered_at_once_as_may_be() {
    let serving = Serving::start(Limits { in_flight: 2, ..limits() }).await;
    serving.store.stall(Stall::LookUps);
    let mut asked = JoinSet::new();
    for _ in 0..3 {
        asked.spawn(serving.look_up());
    }
    // Two are held up by the store: the third is told at once.
    let refused = tokio::time::timeout(PATIENCE, asked.join_next()).await.expect("an answer").unwrap().unwrap();
    is_problem(refused, 503, "overloaded").await;
    is_problem(serving.get("/v1/stats").await, 503, "overloaded").await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(serving.get(path).await.status(), 200);
    }
    serving.store.heal();
    while let Some(answer) = asked.join_next().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(serving.get("/v1/stats").await.status(), 200);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_key_keeps_nobody_out() {
    let serving = Serving::start(Limits { in_flight: 1, ..limits() }).await;
    let leases = "/v1/pools/stability/leases";
    let mut held = Vec::new();
    for _ in 0..4 {
        let lent = serving.request(Method::POST, leases).send().await.unwrap();
        held.push(lent.json::<Value>().await.unwrap()["lease_id"].as_str().unwrap().to_owned());
    }
    let waiting = serving.request(Method::POST, leases).header("prefer", "wait=60").send();
    let waiting = tokio::spawn(waiting);
    until(|| async { serving.pools.waiting() == 1 }).await;
    assert_eq!(serving.look_up().await.status(), 200);
    let report = format!("/v1/leases/{}/report", held[0]);
    let reported = serving.request(Method::POST, &report).json(&json!({"outcome": "unused"})).send().await.unwrap();
    assert_eq!(reported.status(), 200);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 201);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let head = |path: &str, media_type: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media_type}\r\ncontent-length: 100\r\n\r\n{{")
    };
    for limits in [Limits { piece: SHORT, ..limits() }, Limits { whole_body: SHORT, ..limits() }] {
        let serving = Serving::start(limits).await;
        let answer = serving.raw(head(LOOK_UP, "application/json").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("\"timeout\""), "{answer}");
        let answer = serving.raw(head("/v1/pools/stability/keys", "application/json").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("\"timeout\""), "{answer}");
        serving.stop().await;
    }
    // Lines may take long as a whole, but not between two pieces.
    let serving = Serving::start(Limits { piece: SHORT, ..limits() }).await;
    for media_type in ["text/plain", "application/x-ndjson"] {
        let answer = serving.raw(head("/v1/pools/stability/keys", media_type).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("\"timeout\""), "{answer}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_is_told_before_the_body_is_read() {
    let serving = Serving::start(limits()).await;
    for (head, status) in [
        ("POST /v1/nothing HTTP/1.1", 404),
        ("PUT /v1/pools/stability/look_up HTTP/1.1", 405),
        ("POST /v1/pools/stability/look_up HTTP/1.1\r\ncontent-type: text/plain", 415),
    ] {
        // The body never comes.
        let mut stream = TcpStream::connect(&serving.address).await.unwrap();
        stream.write_all(format!("{head}\r\nhost: x\r\ncontent-length: 100\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let serving = Serving::start(Limits { head: SHORT, ..limits() }).await;
    for part in ["", "G", "GET /livez HTTP/1.1\r\n", "GET /livez HTTP/1.1\r\nhost: x\r\n"] {
        let answer = serving.raw(part.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    serving.stop().await;
}

/// With a single connection allowed, the next caller is served only once this one's is over.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_answer_keeps_no_connection() {
    let serving = Serving::start(Limits { piece: SHORT, connections: 1, ..limits() }).await;
    let mut stream = TcpStream::connect(&serving.address).await.unwrap();
    let requests = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    // Sends requests and never reads, until the server has had enough.
    let flood = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flood).await.expect("an end");
    is_alive(&mut TcpStream::connect(&serving.address).await.unwrap()).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_takes_too_long_is_not_waited_for() {
    let serving = Serving::start(Limits { handler: SHORT, ..limits() }).await;
    serving.store.stall(Stall::LookUps);
    is_problem(serving.look_up().await, 504, "timeout").await;
    serving.store.heal();
    until(|| async { serving.look_up().await.status() == 200 }).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_one_answer_and_no_more() {
    let serving = Serving::start(Limits { in_flight: 1, ..limits() }).await;
    serving.store.stall(Stall::Panic);
    for _ in 0..3 {
        is_problem(serving.look_up().await, 500, "internal").await;
    }
    serving.store.heal();
    assert_eq!(serving.look_up().await.status(), 200);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_and_the_next_is_served() {
    let serving = Serving::start(limits()).await;
    let good = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = serving.raw(format!("{good}{good}\0\u{ff} garbage\r\n\r\n{good}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400 ").count(), 1, "{answer}");
    let long = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    for bytes in [
        "\r\n\r\n\r\n\r\nnonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /livez HTTP/9.9\r\n\r\n",
        "POST /v1/pools/stability/look_up HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/pools/stability/look_up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        &long,
        &many,
    ] {
        let mut stream = TcpStream::connect(&serving.address).await.unwrap();
        let _ = stream.write_all(bytes.as_bytes()).await;
        // Whoever sends so much of it, and goes.
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", answer.escape_ascii());
    }
    assert_eq!(serving.look_up().await.status(), 200);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_stay_in_line() {
    let serving = Serving::start(Limits { connections: 1, ..limits() }).await;
    let mut first = TcpStream::connect(&serving.address).await.unwrap();
    is_alive(&mut first).await;
    let address = serving.address.clone();
    let second = tokio::spawn(async move { is_alive(&mut TcpStream::connect(address).await.unwrap()).await });
    // Time enough for the second one, if it were accepted.
    for _ in 0..200 {
        is_alive(&mut first).await;
    }
    assert!(!second.is_finished());
    drop(first);
    tokio::time::timeout(PATIENCE, second).await.expect("an answer").unwrap();
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_end_what_is_in_flight() {
    let serving = Serving::start(limits()).await;
    let mut idle = TcpStream::connect(&serving.address).await.unwrap();
    is_alive(&mut idle).await;
    serving.store.stall(Stall::LookUps);
    let in_flight = tokio::spawn(serving.look_up());
    until(|| async { serving.store.looked_up() > 0 }).await;

    serving.frame.stopping.cancel();
    // The idle connection is closed, and no other is accepted.
    tokio::time::timeout(PATIENCE, idle.read_to_end(&mut Vec::new())).await.expect("an end").unwrap();
    until(|| async { TcpStream::connect(&serving.address).await.is_err() }).await;
    assert!(!in_flight.is_finished() && !serving.server.is_finished());
    serving.store.heal();
    let answer = in_flight.await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (200, &"close".parse().unwrap()));
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_waits_for_nobody_for_ever() {
    let serving = Serving::start(Limits { drain: SHORT, ..limits() }).await;
    serving.store.stall(Stall::LookUps);
    let in_flight = serving.request(Method::POST, LOOK_UP).timeout(LONG).json(&json!({"api_key": "sk-0"})).send();
    let in_flight = tokio::spawn(in_flight);
    until(|| async { serving.store.looked_up() > 0 }).await;
    serving.frame.stopping.cancel();
    tokio::time::timeout(PATIENCE, serving.server).await.expect("an end").unwrap();
    assert!(in_flight.await.unwrap().is_err(), "its connection is closed");
}
