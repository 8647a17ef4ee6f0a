//! Callers that lease and report, find and increment, again and again, and remember what they were answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{LIMIT, RESUMED, SLACK, until, until_within, within};

/// What a caller asks for. Each has its own callers, so that one cannot hide that another is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Lease,
    Find,
    Increment,
}

/// The kinds, with how many callers each has.
const CALLERS: [(Kind, usize); 3] = [(Kind::Lease, 8), (Kind::Find, 4), (Kind::Increment, 16)];

/// Between two requests of a caller: many ask at once, and yet they do not take all of the machine from the store.
const PACE: Duration = Duration::from_millis(50);

/// What callers count on.
#[derive(Debug, Default)]
pub struct Tally {
    /// Leases settled as used, by key: each is counted once.
    pub used: BTreeMap<String, u64>,
    /// Leases that a caller got and has not settled.
    pub held: BTreeSet<String>,
    /// Increments by secret: those acknowledged, and those that may have happened.
    pub counted: BTreeMap<String, (u64, u64)>,
}

#[derive(Default)]
struct Progress {
    served: AtomicUsize,
    refused: AtomicUsize,
}

struct Shared {
    url: String,
    client: reqwest::Client,
    stop: CancellationToken,
    /// Odd while the store is away.
    phase: AtomicU64,
    progress: [Progress; 3],
    slowest: Mutex<Duration>,
    tally: Mutex<Tally>,
    /// A caller was answered as none may be.
    failed: AtomicBool,
}

/// Tells that its caller has failed, so that nobody waits for it.
struct Witness(Arc<Shared>);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::SeqCst);
        }
    }
}

pub struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

struct Answer {
    status: u16,
    body: Value,
}

impl Load {
    /// Callers of the server at `url`: leases and finds of `stability`, increments of these keys of `healthid`.
    pub fn start(url: &str, incremented: &[String]) -> Self {
        let shared = Arc::new(Shared {
            url: url.to_owned(),
            client: reqwest::Client::new(),
            stop: CancellationToken::new(),
            phase: AtomicU64::new(0),
            progress: Default::default(),
            slowest: Mutex::default(),
            tally: Mutex::default(),
            failed: AtomicBool::default(),
        });
        let mut callers = JoinSet::new();
        for (kind, count) in CALLERS {
            for number in 0..count {
                let shared = Arc::clone(&shared);
                let key = incremented[number % incremented.len()].clone();
                callers.spawn(async move {
                    let _witness = Witness(Arc::clone(&shared));
                    while !shared.stop.is_cancelled() {
                        match kind {
                            Kind::Lease => shared.lease_and_report(number).await,
                            Kind::Find => shared.find().await,
                            Kind::Increment => shared.increment(&key).await,
                        }
                        tokio::time::sleep(PACE).await;
                    }
                });
            }
        }
        Self { shared, callers }
    }

    /// From here on until [`Load::store_is_back`], no request that is sent may be answered well.
    pub fn store_is_away(&self) {
        self.shared.phase.fetch_add(1, Ordering::SeqCst);
        for progress in &self.shared.progress {
            progress.refused.store(0, Ordering::SeqCst);
        }
    }

    pub fn store_is_back(&self) {
        self.shared.phase.fetch_add(1, Ordering::SeqCst);
        for progress in &self.shared.progress {
            progress.served.store(0, Ordering::SeqCst);
        }
    }

    fn check(&self) {
        assert!(!self.shared.failed.load(Ordering::SeqCst), "a caller failed; it said why above");
    }

    /// Waits until of every kind of request two for each of its callers were refused while the store was away.
    pub async fn all_refused(&self) {
        let enough = |(kind, callers): &(Kind, usize)| {
            self.shared.progress[*kind as usize].refused.load(Ordering::SeqCst) >= 2 * callers
        };
        let refused = || {
            self.check();
            CALLERS.iter().all(enough)
        };
        until("every kind of request was refused", async || refused()).await;
    }

    /// Waits until every kind of request was answered well so often that it is no accident.
    pub async fn all_served(&self) {
        let served = || {
            self.check();
            self.shared.progress.iter().all(|kind| kind.served.load(Ordering::SeqCst) >= 8)
        };
        until_within(RESUMED, "every kind of request is served", async || served()).await;
    }

    /// Lets every caller end what it began, its reports too, and answers what they count on.
    pub async fn end(mut self) -> Tally {
        self.shared.stop.cancel();
        within("the callers", async {
            while let Some(caller) = self.callers.join_next().await {
                caller.unwrap();
            }
        })
        .await;
        println!("slowest answer: {} ms", self.shared.slowest.lock().unwrap().as_millis());
        std::mem::take(&mut *self.shared.tally.lock().unwrap())
    }
}

impl Shared {
    async fn lease_and_report(&self, caller: usize) {
        let Some(lease) = self.ask(Kind::Lease, "/v1/pools/stability/leases", Value::Null, 201).await else { return };
        let lease_id = lease["lease_id"].as_str().unwrap().to_owned();
        let used = caller.is_multiple_of(4);
        self.tally.lock().unwrap().held.insert(lease_id.clone());
        let outcome = json!({"outcome": if used { "used" } else { "unused" }});
        let path = format!("/v1/leases/{lease_id}/report");
        let mut repeated = false;
        // A report can be repeated: that the lease is gone says then that it was taken.
        loop {
            let answer = self.send(Kind::Lease, &path, &outcome).await;
            match answer.status {
                200 => break,
                410 if repeated => break,
                503 => {}
                _ => panic!("a report was answered {} {}", answer.status, answer.body),
            }
            repeated = true;
            tokio::time::sleep(PACE).await;
        }
        let mut tally = self.tally.lock().unwrap();
        tally.held.remove(&lease_id);
        if used {
            *tally.used.entry(lease["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }

    async fn find(&self) {
        self.ask(Kind::Find, "/v1/pools/stability/find_usable_key", Value::Null, 200).await;
    }

    async fn increment(&self, key: &str) {
        let body = json!({"api_key": key});
        let counted = self.ask(Kind::Increment, "/v1/pools/healthid/increment_usage", body, 200).await;
        let mut tally = self.tally.lock().unwrap();
        let (acknowledged, unknown) = tally.counted.entry(key.to_owned()).or_default();
        match counted {
            Some(_) => *acknowledged += 1,
            None => *unknown += 1,
        }
    }

    /// Asks once; None = it was refused.
    async fn ask(&self, kind: Kind, path: &str, body: Value, good: u16) -> Option<Value> {
        let answer = self.send(kind, path, &body).await;
        match answer.status {
            status if status == good => Some(answer.body),
            503 => None,
            _ => panic!("{path} was answered {} {}", answer.status, answer.body),
        }
    }

    /// Sends one request. Asserts what holds for every answer.
    async fn send(&self, kind: Kind, path: &str, body: &Value) -> Answer {
        let phase = self.phase.load(Ordering::SeqCst);
        let asked = Instant::now();
        let request = self.client.post(format!("{}{path}", self.url));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = within("an answer", async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap())
        });
        let (status, body) = answer.await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let took = asked.elapsed();
        let away = phase % 2 == 1 && self.phase.load(Ordering::SeqCst) == phase;
        assert!(took < LIMIT + SLACK, "{path} was answered {status} after {took:?}");
        {
            let mut slowest = self.slowest.lock().unwrap();
            *slowest = took.max(*slowest);
        }
        if away {
            let code = body["code"].as_str().unwrap_or_default();
            assert_eq!(status, 503, "{path} while the store was away: {body}");
            assert!(matches!(code, "store_unavailable" | "overloaded"), "{path} while the store was away: {body}");
            assert!(body.get("api_key").is_none(), "a key while the store was away");
        }
        let progress = &self.progress[kind as usize];
        if away {
            progress.refused.fetch_add(1, Ordering::SeqCst);
        } else if status < 300 {
            progress.served.fetch_add(1, Ordering::SeqCst);
        }
        Answer { status, body }
    }
}
