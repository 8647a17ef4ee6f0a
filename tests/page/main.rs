//! The page, in a browser: it shows what the statistics say while a load runs, says when it is disconnected, keeps a
//! token to itself, asks nobody else, and can be used by everybody.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod browser;
#[allow(dead_code, reason = "these tests open no store themselves")]
#[path = "../support/place.rs"]
#[macro_use]
mod place;
#[path = "../support/program.rs"]
mod program;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, Look, PATIENCE};
use keylend::domain::TokenSecret;
use program::{Program, keylend};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::By;
use tokio::time::{Instant, sleep};

/// A server whose pools have keys in many states.
struct Served {
    folder: TempDir,
    program: Program,
    client: Client,
}

impl Served {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let toml = "[pools.translator]\nuses_per_key = 50\n";
        std::fs::write(folder.path().join("keylend.toml"), toml).unwrap();
        let program = Program::serve(keylend(&folder, &settings(), &[]));
        let served = Self { folder, program, client: Client::new() };
        for (pool, keys) in [("stability", 40), ("plantid", 12), ("translator", 200)] {
            let keys: Vec<String> = (0..keys).map(|number| format!("sk-{pool}-{number:08}")).collect();
            served.post(&format!("/v1/pools/{pool}/keys"), json!({"api_keys": keys})).await;
        }
        for number in 0..60 {
            let outcome = ["used", "used", "used", "unused", "used", "rate_limited", "used", "rejected"][number % 8];
            for pool in ["stability", "translator", "translator"] {
                served.use_a_key(pool, outcome).await;
            }
        }
        for _ in 0..130 {
            served.get("/api/plantid").await;
        }
        for _ in 0..7 {
            served.post("/v1/pools/stability/leases", json!({"ttl_seconds": 600})).await;
        }
        served
    }

    async fn get(&self, path: &str) -> Value {
        self.client.get(format!("{}{path}", self.program.url)).send().await.unwrap().json().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.client.post(format!("{}{path}", self.program.url)).json(&body).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn use_a_key(&self, pool: &str, outcome: &str) {
        let lease = self.post(&format!("/v1/pools/{pool}/leases"), json!({})).await;
        if let Some(lease) = lease["lease_id"].as_str() {
            self.post(&format!("/v1/leases/{lease}/report"), json!({"outcome": outcome})).await;
        }
    }
}

fn settings() -> Vec<(&'static str, String)> {
    vec![("KEYLEND_DATA", "keylend.db".to_owned())]
}

/// The figures that the page shows of a pool.
async fn shown(browser: &Browser, pool: &str) -> Vec<String> {
    let script = "const card = document.querySelector(`[data-pool='${arguments[0]}']`); \
        return [...card.querySelectorAll('[data-left], [data-leases], [data-state]')].map((one) => one.textContent)";
    let shown = browser.run(script, &[pool.into()]).await;
    shown.as_array().unwrap().iter().map(|text| text.as_str().unwrap().replace(',', "")).collect()
}

/// Takes keys of a pool, one after the other.
async fn load(url: String) {
    let client = Client::new();
    while client.get(format!("{url}/api/plantid")).send().await.is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
}

/// The same as the statistics say them.
fn told(stats: &Value) -> Vec<String> {
    let mut told = vec![stats["uses"]["left"].to_string(), stats["uses"]["leased"].to_string()];
    let states = ["usable", "leased", "resting", "spent", "disabled", "invalid"];
    told.extend(states.map(|state| stats["keys"][state].to_string()));
    told
}

#[test_with::env(KEYLEND_TEST_PAGE)]
#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_the_stats_say_while_a_load_runs_and_can_be_used_by_everybody() {
    let served = Served::start().await;
    for (look, name) in [(Look::Light, "light"), (Look::Dark, "dark"), (Look::Narrow, "narrow")] {
        let browser = Browser::start(look).await;
        browser.window.goto(&served.program.url).await.unwrap();
        browser.until_status(|status| status == "Live").await;
        let deadline = Instant::now() + PATIENCE;
        // Others take keys all the time; what becomes of this pool is known.
        let load = tokio::spawn(load(served.program.url.clone()));
        let mut agreed = 0;
        while agreed < 3 {
            served.use_a_key("translator", "used").await;
            let used = told(&served.get("/v1/pools/translator/stats").await);
            loop {
                let seen = shown(&browser, "translator").await;
                if seen == used {
                    break;
                }
                assert!(Instant::now() < deadline, "{look:?} shows {seen:?}, there are {used:?}");
                sleep(Duration::from_millis(50)).await;
            }
            agreed += 1;
        }
        load.abort();
        let _ = load.await;
        for pool in ["stability", "plantid", "healthid"] {
            loop {
                let stats = told(&served.get(&format!("/v1/pools/{pool}/stats")).await);
                let seen = shown(&browser, pool).await;
                if seen == stats {
                    break;
                }
                assert!(Instant::now() < deadline, "{look:?} {pool} shows {seen:?}, there are {stats:?}");
                sleep(Duration::from_millis(50)).await;
            }
        }
        let moved = browser.text("[data-pool='translator'] [data-moved]").await;
        assert!(
            moved.contains("disabled") && moved.contains("resting") && !moved.contains("sk-translator-"),
            "{moved}"
        );
        assert_eq!(browser.violations().await, Vec::<Value>::new(), "{look:?}");
        let too_wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(browser.run(too_wide, &[]).await, json!(false), "{look:?}");
        assert_eq!(browser.complaints().await, Vec::<Value>::new(), "{look:?}");
        assert_eq!(browser.hosts().await, [served.program.url.trim_start_matches("http://")], "{look:?}");
        if std::env::var_os("KEYLEND_SCREENSHOTS").is_some() {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/page/{name}.png"));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, browser.window.screenshot_as_png().await.unwrap()).unwrap();
        }
        browser.close().await;
    }
}

#[test_with::env(KEYLEND_TEST_PAGE)]
#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_is_disconnected_and_heals() {
    let served = Served::start().await;
    let browser = Browser::start(Look::Light).await;
    browser.window.goto(&served.program.url).await.unwrap();
    browser.until_status(|status| status == "Live").await;
    let address = served.program.url.trim_start_matches("http://").to_owned();
    served.program.terminate();
    browser.until_status(|status| status.starts_with("Disconnected")).await;
    let log = served.folder.path().join("again.log");
    let mut again = settings();
    again.push(("KEYLEND_LISTEN", address));
    again.push(("LOG_FILE", log.display().to_string()));
    let again = Program::serve_as_it_is(keylend(&served.folder, &again, &["serve"]), &log);
    browser.until_status(|status| status == "Live").await;
    browser.close().await;
    again.terminate();
}

#[test_with::env(KEYLEND_TEST_PAGE)]
#[tokio::test(flavor = "multi_thread")]
async fn it_asks_for_a_token_and_keeps_it_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.push(("KEYLEND_TOKENS", format!("tester:stats@plantid:{}", TokenSecret::new("klt_tester").digest())));
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let browser = Browser::start(Look::Dark).await;
    browser.window.goto(&program.url).await.unwrap();
    browser.until_status(|status| status == "A token is needed").await;
    assert_eq!(browser.violations().await, Vec::<Value>::new());
    let give = async |token: &str| {
        let input = browser.window.find(By::Id("secret")).await.unwrap();
        input.send_keys(format!("{token}\u{e007}")).await.unwrap();
    };
    give("klt_wrong").await;
    browser.until_status(|status| status.starts_with("This token does not do")).await;
    give("klt_tester").await;
    browser.until_status(|status| status == "Live").await;
    let pools = browser.window.find_all(By::Css(".pool")).await.unwrap();
    assert_eq!((pools.len(), browser.text(".pool h2").await.as_str()), (1, "plantid"));
    let kept = "return [localStorage.length, sessionStorage.length, document.cookie, location.href, \
                document.body.innerHTML.includes('klt_'), document.getElementById('secret').value]";
    let kept = browser.run(kept, &[]).await;
    assert_eq!(kept, json!([0, 0, "", format!("{}/", program.url), false, ""]));
    browser.window.refresh().await.unwrap();
    browser.until_status(|status| status == "A token is needed").await;
    browser.close().await;
}
