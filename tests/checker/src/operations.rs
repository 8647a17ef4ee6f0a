//! What clients do: random requests, each written down with its answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::history::{Asked, Clock, Event, Got, Millis, Outcome, Pool};

/// How often a report that was not answered is sent.
const REPORTS: u32 = 3;

/// How many keys come at once now and then.
const CROWD: usize = 1200;

/// Leases that are held at once, at most; the oldest are forgotten.
const HELD: usize = 400;

/// What all clients share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) client: reqwest::Client,
    /// Where each instance is reached.
    pub(crate) fronts: Vec<SocketAddr>,
    pub(crate) stop: AtomicBool,
    pub(crate) asked: AtomicU64,
    /// Leases somebody has got, with the pool, to be reported by anybody.
    held: Mutex<Vec<(Pool, String)>>,
    keys: Mutex<Vec<(Pool, String)>>,
    next: AtomicU64,
    /// Answers that none may get.
    pub(crate) unexpected: Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn new(clock: Clock, fronts: Vec<SocketAddr>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            client: crate::instance::client(),
            fronts,
            stop: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            held: Mutex::default(),
            keys: Mutex::default(),
            next: AtomicU64::new(0),
            unexpected: Mutex::default(),
        })
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// One client, with its own dice.
pub(crate) struct Client {
    shared: Arc<Shared>,
    dice: StdRng,
    history: Vec<Event>,
}

impl Client {
    pub(crate) fn new(shared: &Arc<Shared>, seed: u64) -> Self {
        Self { shared: Arc::clone(shared), dice: StdRng::seed_from_u64(seed), history: Vec::new() }
    }

    /// Asks for this and that until the run is over.
    pub(crate) async fn use_keys(mut self) -> Vec<Event> {
        while !self.shared.is_over() {
            let lru = if self.dice.random_bool(0.7) { Pool::Counting } else { Pool::Refunding };
            match self.dice.random_range(0..100) {
                0..30 => self.lease(lru, None).await,
                30..34 => self.lease_twice(lru).await,
                34..44 => self.take().await,
                44..52 => self.find(lru).await,
                52..58 => self.increment().await,
                58..62 => self.renew().await,
                _ => self.report().await,
            }
        }
        self.history
    }

    /// Adds keys, and switches some off and on, until the run is over.
    ///
    /// Where keys are scarce, many want the last use of each; where there are plenty, much is read ahead.
    pub(crate) async fn operate(mut self, file: std::path::PathBuf, scarce: bool) -> Vec<Event> {
        let (most, pauses) = if scarce { (30, 20..150) } else { (200, 10..80) };
        let mut lines: Vec<String> = Vec::new();
        for pool in Pool::ALL {
            self.add(pool, 40).await;
        }
        while !self.shared.is_over() {
            let pool = Pool::ALL[self.dice.random_range(0..3)];
            match self.dice.random_range(0..10) {
                0..5 => {
                    let count = self.dice.random_range(1..=if pool == Pool::Ordered { most.min(12) } else { most });
                    self.add(pool, count).await;
                }
                5..7 => self.switch(false).await,
                7..9 => self.switch(true).await,
                _ => self.edit(&file, &mut lines),
            }
            match self.dice.random_range(0..100) {
                // So many that what is read ahead of a crowd is not all of them.
                0..5 if !scarce => self.add(Pool::Counting, CROWD).await,
                5..12 => self.import().await,
                12..20 => self.change(json!({"note": "seen"}), |_| Asked::Note).await,
                20..30 => self.change(json!({"resting_until": null}), |key| Asked::EndRest { key }).await,
                30..33 => self.spend().await,
                33..36 => self.remove().await,
                _ => {}
            }
            let pause = self.dice.random_range(pauses.clone());
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.history
    }

    async fn lease(&mut self, pool: Pool, idem: Option<String>) {
        let front = self.front();
        self.lease_at(front, pool, idem).await;
    }

    async fn lease_at(&mut self, front: SocketAddr, pool: Pool, idem: Option<String>) {
        let mut request = self.request(Method::POST, front, &format!("/v1/pools/{}/leases", pool.name()));
        request = request.json(&json!({"ttl_seconds": self.dice.random_range(1..=3)}));
        if let Some(idem) = &idem {
            request = request.header("Idempotency-Key", idem);
        }
        if self.dice.random_bool(0.03) {
            request = request.header("Prefer", "wait=1");
        }
        self.ask(pool, Asked::Lease { idem }, request).await;
        if let Some(Event { got: Got::Key { lease: Some(lease), .. }, .. }) = self.history.last() {
            let mut held = self.shared.held.lock().unwrap();
            held.push((pool, lease.clone()));
            if held.len() > HELD {
                held.swap_remove(0);
            }
        }
    }

    /// The same request twice, to two instances, one after the other.
    async fn lease_twice(&mut self, pool: Pool) {
        let idem = format!("request-{}", self.shared.number());
        for _ in 0..2 {
            self.lease(pool, Some(idem.clone())).await;
        }
    }

    async fn report(&mut self) {
        let Some((pool, lease)) = self.held() else { return };
        let outcome = match self.dice.random_range(0..100) {
            // Nobody ever says what became of it.
            0..8 => return,
            8..60 => Outcome::Used,
            60..86 => Outcome::Unused,
            86..94 => Outcome::RateLimited { seconds: self.dice.random_range(1..=3) },
            94..97 => Outcome::Exhausted,
            _ => Outcome::Rejected,
        };
        let mut body = json!({"outcome": outcome.word()});
        if let Outcome::RateLimited { seconds } = outcome {
            body["retry_after_seconds"] = json!(seconds);
        }
        // Now and then somebody else reports it as well.
        let again = self.dice.random_bool(0.05);
        for _ in 0..REPORTS {
            let front = self.front();
            let request = self.request(Method::POST, front, &format!("/v1/leases/{lease}/report")).json(&body);
            self.ask(pool, Asked::Report { lease: lease.clone(), outcome }, request).await;
            let is_known = !matches!(self.history.last(), Some(Event { got: Got::Lost | Got::Refused, .. }));
            if is_known && !again {
                break;
            }
        }
    }

    async fn renew(&mut self) {
        let Some((pool, lease)) = self.held() else { return };
        let front = self.front();
        let request = self.request(Method::POST, front, &format!("/v1/leases/{lease}/renew"));
        let request = request.json(&json!({"ttl_seconds": 2}));
        self.ask(pool, Asked::Renew { lease: lease.clone() }, request).await;
        self.shared.held.lock().unwrap().push((pool, lease));
    }

    async fn find(&mut self, pool: Pool) {
        let front = self.front();
        let request = self.request(Method::POST, front, &format!("/v1/pools/{}/find_usable_key", pool.name()));
        self.ask(pool, Asked::Find, request).await;
    }

    async fn take(&mut self) {
        let front = self.front();
        let request = self.request(Method::GET, front, "/api/plantid");
        self.ask(Pool::Ordered, Asked::Take, request).await;
    }

    async fn increment(&mut self) {
        let Some((pool, key)) = self.some_key() else { return };
        // Of the ordered pool only few: its order is looked at on keys that nobody else counts on.
        if pool == Pool::Ordered && !self.dice.random_bool(0.1) {
            return;
        }
        let front = self.front();
        let request = self.request(Method::POST, front, &format!("/v1/pools/{}/increment_usage", pool.name()));
        self.ask(pool, Asked::Increment { key: key.clone() }, request.json(&json!({"api_key": key}))).await;
    }

    async fn add(&mut self, pool: Pool, count: usize) {
        let keys: Vec<String> = (0..count).map(|_| format!("sk-{}-{:08}", pool.name(), self.shared.number())).collect();
        let front = self.front();
        let request = self.request(Method::POST, front, &format!("/v1/pools/{}/keys", pool.name()));
        // As JSON, or as the lines of a file.
        let request = match self.dice.random_bool(0.5) {
            true => request.json(&json!({"api_keys": keys})),
            false => request.header("content-type", "text/plain").body(keys.join("\n")),
        };
        self.ask(pool, Asked::Add { keys: keys.clone() }, request).await;
        self.shared.keys.lock().unwrap().extend(keys.into_iter().map(|key| (pool, key)));
    }

    /// Keys as an export has them, with uses that are counted already.
    async fn import(&mut self) {
        let pool = if self.dice.random_bool(0.5) { Pool::Counting } else { Pool::Refunding };
        let keys: Vec<(String, u64)> = (0..self.dice.random_range(1..20))
            .map(|_| format!("sk-{}-{:08}", pool.name(), self.shared.number()))
            .map(|key| (key, self.dice.random_range(0..=pool.uses())))
            .collect();
        let line = |(key, count): &(String, u64)| {
            json!({"pool": pool.name(), "api_key": key, "usage_count": count, "is_active": true}).to_string()
        };
        let lines: Vec<String> = keys.iter().map(line).collect();
        let front = self.front();
        let request = self.request(Method::POST, front, &format!("/v1/pools/{}/keys", pool.name()));
        let request = request.header("content-type", "application/x-ndjson").body(lines.join("\n"));
        self.ask(pool, Asked::Import { keys: keys.clone() }, request).await;
        self.shared.keys.lock().unwrap().extend(keys.into_iter().map(|(key, _)| (pool, key)));
    }

    async fn switch(&mut self, on: bool) {
        self.change(json!({"is_active": on}), |key| Asked::Switch { key, on }).await;
    }

    async fn spend(&mut self) {
        let Some((pool, key)) = self.some_key().filter(|(pool, _)| *pool != Pool::Ordered) else { return };
        let asked = Asked::Spend { key: key.clone() };
        self.on_key(pool, &key, Method::PATCH, Some(json!({"usage_count": pool.uses()})), asked).await;
    }

    async fn remove(&mut self) {
        let Some((pool, key)) = self.some_key().filter(|(pool, _)| *pool != Pool::Ordered) else { return };
        self.on_key(pool, &key, Method::DELETE, None, Asked::Remove { key: key.clone() }).await;
    }

    /// Changes some key.
    async fn change(&mut self, body: Value, asked: impl FnOnce(String) -> Asked) {
        let Some((pool, key)) = self.some_key() else { return };
        // Of the ordered pool only few: its order is looked at on keys that nobody else changes.
        if pool == Pool::Ordered && !self.dice.random_bool(0.2) {
            return;
        }
        self.on_key(pool, &key, Method::PATCH, Some(body), asked(key.clone())).await;
    }

    async fn on_key(&mut self, pool: Pool, key: &str, method: Method, body: Option<Value>, asked: Asked) {
        let front = self.front();
        let request = self.request(Method::POST, front, &format!("/v1/pools/{}/look_up", pool.name()));
        let Ok(found) = request.json(&json!({"api_key": key})).send().await else { return };
        let Ok(found) = found.json::<Value>().await else { return };
        let Some(id) = found["id"].as_str() else { return };
        let request = self.request(method, front, &format!("/v1/pools/{}/keys/{id}", pool.name()));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        self.ask(pool, asked, request).await;
    }

    /// Appends a line to the key file, or takes one out.
    fn edit(&mut self, file: &std::path::Path, lines: &mut Vec<String>) {
        let there = lines.len() < 3 || self.dice.random_bool(0.6);
        let key = match there {
            true => format!("sk-zfile-{:08}", self.shared.number()),
            false => lines.remove(self.dice.random_range(0..lines.len())),
        };
        if there {
            lines.push(key.clone());
        }
        let at = self.shared.clock.now();
        // Replaced as a whole, as editors do.
        let beside = file.with_extension("new");
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, file)).is_ok() {
            let got_at = self.shared.clock.now();
            let asked = Asked::Line { key };
            self.history.push(Event { pool: Pool::Ordered, asked, asked_at: at, got: Got::Done, got_at });
        }
    }

    fn front(&mut self) -> SocketAddr {
        self.shared.fronts[self.dice.random_range(0..self.shared.fronts.len())]
    }

    fn held(&mut self) -> Option<(Pool, String)> {
        let mut held = self.shared.held.lock().unwrap();
        (!held.is_empty()).then(|| {
            let one = self.dice.random_range(0..held.len());
            held.swap_remove(one)
        })
    }

    /// Any key; more often one of the latest.
    fn some_key(&mut self) -> Option<(Pool, String)> {
        let keys = self.shared.keys.lock().unwrap();
        let from = if self.dice.random_bool(0.7) { keys.len().saturating_sub(200) } else { 0 };
        (!keys.is_empty()).then(|| keys[self.dice.random_range(from..keys.len())].clone())
    }

    fn request(&self, method: Method, front: SocketAddr, path: &str) -> RequestBuilder {
        self.shared.client.request(method, format!("http://{front}{path}"))
    }

    async fn ask(&mut self, pool: Pool, asked: Asked, request: RequestBuilder) {
        self.shared.asked.fetch_add(1, Ordering::Relaxed);
        let asked_at = self.shared.clock.now();
        let answer = async {
            let answer = request.send().await?;
            let (status, body) = (answer.status(), answer.bytes().await?);
            Ok::<_, reqwest::Error>((status, serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null)))
        };
        let got = match answer.await {
            Err(_) => Got::Lost,
            Ok((status, body)) => self.understand(&asked, status, &body),
        };
        let got_at = self.shared.clock.now();
        // Who cannot be served asks again a little later.
        if matches!(got, Got::Lost | Got::Refused) {
            tokio::time::sleep(Duration::from_millis(self.dice.random_range(1..20))).await;
        }
        self.history.push(Event { pool, asked, asked_at, got, got_at });
    }

    fn understand(&self, asked: &Asked, status: StatusCode, body: &Value) -> Got {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        match (asked, status.as_u16(), body["code"].as_str()) {
            (Asked::Take, 200, _) => match body["Key"].as_str() {
                Some("File is empty") => Got::Refused,
                Some(key) => Got::Key { key: key.to_owned(), lease: None, usage_count: None, expires_at: Millis::MAX },
                None => Got::Lost,
            },
            (Asked::Lease { .. } | Asked::Find, 200 | 201, _) => Got::Key {
                key: text("api_key").unwrap_or_default(),
                lease: text("lease_id"),
                usage_count: body["usage_count"].as_u64(),
                expires_at: instant(&body["expires_at"]),
            },
            (Asked::Renew { .. }, 200, _) => Got::Key {
                key: String::new(),
                lease: None,
                usage_count: None,
                expires_at: instant(&body["expires_at"]),
            },
            (Asked::Increment { key }, 200, _) => Got::Key {
                key: key.clone(),
                lease: None,
                usage_count: body["usage_count"].as_u64(),
                expires_at: Millis::MAX,
            },
            (Asked::Add { .. } | Asked::Import { .. }, 200, _) if body["added"].as_u64() != Some(asked.keys()) => {
                let what = format!("of {} new keys not all were added: {body}", asked.keys());
                self.shared.unexpected.lock().unwrap().push(what);
                Got::Lost
            }
            (_, 200 | 201 | 204, _) => Got::Done,
            (Asked::Report { .. } | Asked::Renew { .. }, 410, _) => Got::Gone,
            (_, 503, Some("no_usable_key" | "overloaded")) => Got::Refused,
            (_, 503 | 504, _) => Got::Lost,
            // Its key was not added, as far as anybody was told, or was removed meanwhile.
            (_, 404, Some("unknown_key")) => Got::Refused,
            (_, status, _) => {
                let what = format!("{asked:?} was answered {status} {body}");
                self.shared.unexpected.lock().unwrap().push(what);
                Got::Lost
            }
        }
    }
}

fn instant(value: &Value) -> Millis {
    let parsed = value.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    parsed.map_or(Millis::MAX, |instant| (instant.unix_timestamp_nanos() / 1_000_000) as Millis)
}
