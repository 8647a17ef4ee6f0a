//! MongoDB cut off, stalled and killed.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::documents::{Documents, Monitor};
use crate::load::{Load, Tally};
use crate::own::OwnServer;
use crate::program::{Program, keylend};
use crate::proxy::{Fault, Proxy};
use crate::{LIMIT, until, within};

const DATABASE: &str = "keylend_test_away";

/// Keys of the pool that is leased, and uses of each.
const LEASED: usize = 250;
const USES: u64 = 4;

/// Keys of the pool that is incremented.
const INCREMENTED: usize = 2;

/// A keylend that reaches a database of its own by a way that can be broken.
struct Away {
    server: OwnServer,
    proxy: Proxy,
    program: Program,
    leased: Documents,
    incremented: Documents,
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
        Self { server, proxy, program, leased, incremented, _folder: folder }
    }

    async fn status(&self, path: &str) -> StatusCode {
        within(path, reqwest::get(format!("{}{path}", self.program.url))).await.unwrap().status()
    }

    async fn add(&self, pool: &str, count: usize) -> Vec<String> {
        let keys: Vec<String> = (0..count).map(|number| format!("sk-{pool}-{number}")).collect();
        let path = format!("{}/v1/pools/{pool}/keys", self.program.url);
        let added = reqwest::Client::new().post(path).json(&json!({"api_keys": keys})).send();
        let added: Value = within("keys to be added", added).await.unwrap().json().await.unwrap();
        assert_eq!(added["added"], count, "{added}");
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

    /// How often the log tells an event.
    fn told(&self, event: &str) -> usize {
        self.program.log().matches(&format!("event=\"{event}\"")).count()
    }

    async fn stop(self) {
        drop(self.program);
        self.server.stop().await;
    }
}

fn on_own_server(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

// Makes cargo build the tests anew when the variable comes or goes: test-with looks at it while they are built.
const _: Option<&str> = option_env!("KEYLEND_TEST_OWN_MONGODB");

#[test_with::env(KEYLEND_TEST_OWN_MONGODB)]
#[test]
fn a_way_to_the_store_that_fails_and_heals_loses_and_invents_nothing() {
    on_own_server(async {
        let begun = std::time::Instant::now();
        let away = Away::start().await;
        away.add("stability", LEASED).await;
        let keys = away.add("healthid", INCREMENTED).await;
        let monitor = Monitor::start(&away.leased, USES);
        let load = Load::start(&away.program.url, &keys);
        load.all_served(20).await;
        for fault in [Fault::Cut, Fault::Stall, Fault::CutAnswers, Fault::StallAnswers] {
            println!("{fault:?} at {:?}", begun.elapsed());
            away.proxy.set(fault);
            load.store_is_away();
            load.all_refused(12).await;
            assert_eq!(away.status("/livez").await, StatusCode::OK);
            assert_eq!(away.status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
            println!("heals at {:?}", begun.elapsed());
            load.store_is_back();
            away.proxy.set(Fault::None);
            load.all_served(20).await;
            until("it is ready", async || away.status("/readyz").await == StatusCode::OK).await;
        }
        let tally = load.end().await;
        away.agrees_with(&tally).await;
        monitor.saw_no_key_overused().await;
        println!("{} lost, {} back", away.told("store_lost"), away.told("store_back"));
        away.stop().await;
    });
}
