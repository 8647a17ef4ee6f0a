//! MongoDB cut off, stalled and killed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::documents::{Documents, Monitor};
use crate::load::{Load, Tally};
use crate::own::OwnServer;
use crate::program::{Program, keylend};
use crate::proxy::{Fault, Proxy};
use crate::{LIMIT, RESUMED, SLACK, run, until, until_within, within};

const DATABASE: &str = "keylend_test_away";

/// The slow way does everything too late: what was given up is done all the same.
const FAULTS: [Fault; 5] =
    [Fault::Cut, Fault::Stall, Fault::CutAnswers, Fault::StallAnswers, Fault::Slow(LIMIT.saturating_mul(2))];

/// What the log tells.
const STARTED: &str = "event=\"started\"";
const LOST: &str = "event=\"store_lost\"";
const BACK: &str = "event=\"store_back\"";
const WAITING: &str = "waiting for the store";

/// Keys of the pool that is leased, and uses of each.
const LEASED: usize = 250;
const USES: u64 = 4;

/// Keys of the pool that is incremented.
const INCREMENTED: usize = 8;

/// A keylend that reaches a database of its own by a way that can be broken. It ends before its database.
struct Away {
    program: Program,
    proxy: Proxy,
    server: OwnServer,
    leased: Documents,
    incremented: Documents,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Away {
    /// The database is there and the way to it is open.
    async fn start() -> Self {
        let server = OwnServer::start().await;
        let proxy = Proxy::to(server.address(), Fault::None).await;
        Self::over(server, proxy, "started").await
    }

    async fn over(server: OwnServer, proxy: Proxy, event: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = [
            ("MONGODB_URI", format!("mongodb://{}/?directConnection=true", proxy.address)),
            ("MONGODB_DATABASE", DATABASE.to_owned()),
            ("KEYLEND_STORE_TIMEOUT", format!("{}ms", LIMIT.as_millis())),
        ];
        let program = Program::start(keylend(&folder, &settings, &[]), event);
        let leased = Documents::of(&server.uri, DATABASE, "stability_api_keys").await;
        let incremented = Documents::of(&server.uri, DATABASE, "healthid_api_keys").await;
        Self { server, proxy, program, leased, incremented, client: reqwest::Client::new(), _folder: folder }
    }

    async fn status(&self, path: &str) -> StatusCode {
        within(path, self.client.get(format!("{}{path}", self.program.url)).send()).await.unwrap().status()
    }

    async fn until_ready(&self) {
        let is_ready = async || self.status("/readyz").await == StatusCode::OK;
        until_within(RESUMED, "it is ready", is_ready).await;
    }

    /// Asks for a key of `stability`.
    async fn lease(&self) -> (u16, Value) {
        let asked = Instant::now();
        let answer = self.client.post(format!("{}/v1/pools/stability/leases", self.program.url)).send();
        let answer = within("an answer", answer).await.unwrap();
        let took = asked.elapsed();
        assert!(took < LIMIT + SLACK, "answered after {took:?}");
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn add(&self, pool: &str, count: usize) -> Vec<String> {
        let keys: Vec<String> = (0..count).map(|number| format!("sk-{pool}-{number}")).collect();
        let path = format!("{}/v1/pools/{pool}/keys", self.program.url);
        let body = json!({"api_keys": keys});
        // A database that has just started takes its time; the same keys can be added again.
        until("the keys are added", async || {
            self.client.post(&path).json(&body).send().await.unwrap().status() == StatusCode::OK
        })
        .await;
        keys
    }

    /// What callers were told is what the database has, and nothing else is out on lease.
    async fn agrees_with(&self, tally: &Tally) {
        self.leased.until_no_lease_is_open().await;
        let counted = self.leased.uses_now().await.into_iter().map(|(id, uses)| (id, uses.counted));
        let counted: BTreeMap<String, u64> = counted.filter(|(_, counted)| *counted > 0).collect();
        assert_eq!(counted, tally.used, "every lease reported as used is counted once");
        for uses in self.incremented.uses_now().await.into_values() {
            let (acknowledged, unknown) = tally.counted[&uses.secret];
            let expected = acknowledged..=acknowledged + unknown;
            assert!(expected.contains(&uses.counted), "{} of {expected:?} increments", uses.counted);
        }
    }

    /// How often the log tells this.
    fn told(&self, text: &str) -> usize {
        self.program.log().matches(text).count()
    }
}

// Makes cargo build the tests anew when the variable comes or goes: test-with looks at it while they are built.
const _: Option<&str> = option_env!("KEYLEND_TEST_OWN_MONGODB");

#[test_with::env(KEYLEND_TEST_OWN_MONGODB)]
#[test]
fn a_way_to_the_store_that_fails_and_heals_loses_and_invents_nothing() {
    run(async {
        let away = Away::start().await;
        away.add("stability", LEASED).await;
        let keys = away.add("healthid", INCREMENTED).await;
        let monitor = Monitor::start(&away.leased, USES);
        let load = Load::start(&away.program.url, &keys);
        load.all_served().await;
        for fault in FAULTS {
            println!("{fault:?}");
            away.proxy.set(fault);
            load.store_is_away();
            load.all_refused().await;
            assert_eq!(away.status("/livez").await, StatusCode::OK);
            assert_eq!(away.status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
            load.store_is_back();
            away.proxy.set(Fault::None);
            load.all_served().await;
            away.until_ready().await;
            let all_back = || away.told(LOST) == away.told(BACK);
            until("it is told that the store is back", async || all_back()).await;
        }
        let tally = load.end().await;
        away.agrees_with(&tally).await;
        monitor.saw_no_key_overused().await;
        // Once for each fault; a slow machine may have another one.
        let (lost, lines) = (away.told(LOST), away.program.log().lines().count());
        let expected = FAULTS.len()..=2 * FAULTS.len();
        assert!(expected.contains(&lost) && lines < 50, "{lost} times lost: {}", away.program.log());
    });
}

#[test_with::env(KEYLEND_TEST_OWN_MONGODB)]
#[test]
fn a_store_that_is_not_there_yet_is_waited_for_and_one_that_is_killed_loses_no_count() {
    run(async {
        let mut server = OwnServer::start().await;
        server.kill().await;
        let proxy = Proxy::to(server.address(), Fault::None).await;
        let mut away = Away::over(server, proxy, "settings_read").await;
        assert_eq!(away.status("/livez").await, StatusCode::OK);
        assert_eq!(away.status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        let refused = away.lease().await;
        assert_eq!((refused.0, refused.1["code"].as_str()), (503, Some("store_unavailable")), "{}", refused.1);
        let waits = || away.told(WAITING);
        until("it says again that it waits", async || waits() >= 3).await;
        assert_eq!(away.told(LOST), 1);
        assert_eq!(away.told(STARTED), 0);
        away.server.start_again().await;
        away.until_ready().await;
        until("it serves all pools", async || away.told(STARTED) == 1).await;

        away.add("stability", LEASED).await;
        let keys = away.add("healthid", INCREMENTED).await;
        let load = Load::start(&away.program.url, &keys);
        load.all_served().await;
        away.server.kill().await;
        load.store_is_away();
        load.all_refused().await;
        assert_eq!(away.status("/livez").await, StatusCode::OK);
        load.store_is_back();
        away.server.start_again().await;
        load.all_served().await;
        let tally = load.end().await;
        away.agrees_with(&tally).await;
    });
}

/// How many callers try again and again, and for how long.
const CALLERS: usize = 32;
const TRYING: Duration = Duration::from_secs(10);

#[test_with::env(KEYLEND_TEST_OWN_MONGODB)]
#[test]
fn a_store_that_applies_and_never_answers_costs_one_lease_which_is_given_back() {
    run(async {
        let away = Away::start().await;
        away.add("stability", 50).await;
        away.proxy.set(Fault::StallAnswersToChanges);
        let over = Instant::now() + TRYING;
        let mut most = 0;
        let trying = join_all((0..CALLERS).map(async |_| {
            let mut refused = 0;
            while Instant::now() < over {
                let (status, answer) = away.lease().await;
                assert_eq!(status, 503, "{answer}");
                refused += 1;
                sleep(Duration::from_millis(5)).await;
            }
            refused
        }));
        let looking = async {
            while Instant::now() < over {
                most = away.leased.open_leases().await.max(most);
            }
        };
        let (refused, ()) = tokio::join!(trying, looking);
        assert!(refused.iter().all(|refused| *refused >= 2), "{refused:?}");
        assert_eq!(most, 1, "it was applied once, and the others were not sent");
        away.proxy.set(Fault::None);
        away.leased.until_no_lease_is_open().await;
        until_within(RESUMED, "a key is lent again", async || away.lease().await.0 == 201).await;
        assert_eq!(away.leased.open_leases().await, 1);
    });
}
