//! A server of statistics that answers as it is told to.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the server answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status and a body.
    Text(u16, String),
    /// A redirect to here.
    Redirect(String),
    /// A body of so many bytes.
    Large(usize),
    /// A body that goes on for ever, a byte from time to time.
    Endless,
    /// Nothing, ever.
    Never,
    /// Nothing until [`StatsServer::go_on`] is called, and then statistics.
    Later(Value),
}

/// A request: its path, and its token.
type Asked = (String, Option<String>);

struct Shared {
    answer: Mutex<Answer>,
    asked: watch::Sender<Vec<Asked>>,
    goes_on: watch::Sender<bool>,
}

/// The server.
pub struct StatsServer {
    /// What STATS_API is set to.
    pub address: String,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

/// Statistics as the older Flask server tells of them.
pub fn flask(plant: u64, health: u64) -> Value {
    let status = |keys| if keys == 0 { "File is empty" } else { "Keys available" };
    json!({
        "keys": {
            "plantid": {"keys_available": plant, "status": status(plant)},
            "healthid": {"keys_available": health, "status": status(health)},
        },
        "requests": {"plantid": {"requests_until_rotation": 37}, "healthid": {"requests_until_rotation": 100}},
    })
}

impl StatsServer {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/api/stats", listener.local_addr().unwrap());
        let (asked, goes_on) = (watch::Sender::default(), watch::Sender::default());
        let shared = Arc::new(Shared { answer: Mutex::new(answer), asked, goes_on });
        let mut task = JoinSet::new();
        task.spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, _task: task }
    }

    /// One that answers as the older Flask server.
    pub async fn flask(plant: u64, health: u64) -> Self {
        Self::start(Answer::Text(200, flask(plant, health).to_string())).await
    }

    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    pub fn answer_json(&self, answer: &Value) {
        self.answer(Answer::Text(200, answer.to_string()));
    }

    pub fn go_on(&self) {
        self.shared.goes_on.send_replace(true);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.borrow().clone()
    }

    /// Waits until it was asked so often.
    pub async fn until_asked(&self, times: usize) {
        let mut asked = self.shared.asked.subscribe();
        let waiting = asked.wait_for(|asked| asked.len() >= times);
        tokio::time::timeout(crate::PATIENCE, waiting).await.expect("the statistics are asked for").unwrap();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&shared, request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer<B>(
    shared: &Shared,
    request: Request<B>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let token = request.headers().get("authorization").map(|token| token.to_str().unwrap().to_owned());
    shared.asked.send_modify(|asked| asked.push((request.uri().path().to_owned(), token)));
    let answer = shared.answer.lock().unwrap().clone();
    let full = |text: String| Full::from(text).boxed_unsync();
    let mut response = Response::new(full(String::new()));
    match answer {
        Answer::Text(status, text) => {
            *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
            *response.body_mut() = full(text);
        }
        Answer::Redirect(to) => {
            *response.status_mut() = hyper::StatusCode::FOUND;
            response.headers_mut().insert("location", to.parse().unwrap());
        }
        Answer::Large(bytes) => *response.body_mut() = Pieces { left: bytes, pause: false }.boxed_unsync(),
        Answer::Endless => *response.body_mut() = Pieces { left: usize::MAX, pause: true }.boxed_unsync(),
        Answer::Never => std::future::pending().await,
        Answer::Later(statistics) => {
            shared.goes_on.subscribe().wait_for(|goes_on| *goes_on).await.unwrap();
            *response.body_mut() = full(statistics.to_string());
        }
    }
    Ok(response)
}

/// A body of spaces, which is JSON so far.
struct Pieces {
    left: usize,
    pause: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static SPACES: [u8; 64 * 1024] = [b' '; 64 * 1024];
        if self.pause {
            if self.left.is_multiple_of(2) {
                self.left -= 1;
                let waker = context.waker().clone();
                tokio::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    waker.wake();
                });
                return Poll::Pending;
            }
            self.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&SPACES[..1])))));
        }
        let size = self.left.min(SPACES.len());
        self.left -= size;
        Poll::Ready((size > 0).then(|| Ok(Frame::data(Bytes::from_static(&SPACES[..size])))))
    }
}
