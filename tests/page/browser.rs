//! A Chromium without a screen, driven by its own chromedriver; both are gone with it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::{By, Capabilities, WebDriver};
use tokio::time::{Instant, sleep};

/// The longest wait for what is bound to come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What tests/page/up brought.
pub fn brought(name: &str) -> PathBuf {
    Path::new(&std::env::var("KEYLEND_TEST_PAGE").unwrap()).join(name)
}

/// How the page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Light,
    Dark,
    Narrow,
}

pub struct Browser {
    driver: Child,
    at: String,
    pub window: WebDriver,
}

impl Browser {
    pub async fn start(look: Look) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut driver = Command::new(brought("chromedriver"));
        driver.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that the browser ends with it.
        let driver = driver.process_group(0).spawn().unwrap();
        let at = format!("http://127.0.0.1:{port}");
        let scheme = if look == Look::Dark { 0 } else { 1 };
        let mut options = json!({
            "goog:chromeOptions": {
                "binary": brought("chromium"),
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                    "--window-size=1400,1000", format!("--blink-settings=preferredColorScheme={scheme}"),
                ],
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        if look == Look::Narrow {
            // As a phone is; a window is never as narrow.
            let metrics = json!({"width": 360, "height": 1300, "pixelRatio": 1.5});
            options["goog:chromeOptions"]["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let options: Capabilities = serde_json::from_value(options).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let window = loop {
            match WebDriver::new(at.clone(), options.clone()).await {
                Ok(window) => break window,
                Err(error) => assert!(Instant::now() < deadline, "no browser: {error}"),
            }
            sleep(Duration::from_millis(50)).await;
        };
        Self { driver, at, window }
    }

    /// The text of the one element that this selects.
    pub async fn text(&self, selector: &str) -> String {
        self.window.find(By::Css(selector)).await.unwrap().text().await.unwrap()
    }

    /// Waits until the page says how it is.
    pub async fn until_status(&self, expected: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.text("#status").await;
            if expected(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "the page says: {status}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What chromedriver wrote down since it was asked last.
    async fn log(&self, kind: &str) -> Vec<Value> {
        let session = self.window.session_id();
        let ask = reqwest::Client::new().post(format!("{}/session/{session}/se/log", self.at));
        let answer: Value = ask.json(&json!({"type": kind})).send().await.unwrap().json().await.unwrap();
        answer["value"].as_array().unwrap().clone()
    }

    /// What went wrong, as the console tells it.
    pub async fn complaints(&self) -> Vec<Value> {
        self.log("browser").await
    }

    /// The hosts that were asked for anything.
    pub async fn hosts(&self) -> Vec<String> {
        let requests = self.log("performance").await.into_iter().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent").then(|| {
                let url = message["params"]["request"]["url"].as_str().unwrap();
                url.split('/').nth(2).unwrap_or_default().to_owned()
            })
        });
        let mut hosts: Vec<String> = requests.collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// The violations that axe-core finds, each with its element.
    pub async fn violations(&self) -> Vec<Value> {
        self.run(&std::fs::read_to_string(brought("axe.min.js")).unwrap(), &[]).await;
        let found = self.window.execute_async("axe.run().then(arguments[0])", Vec::new()).await.unwrap();
        let found = found.json();
        assert!(found["passes"].as_array().unwrap().len() > 10, "it has looked");
        found["violations"].as_array().unwrap().clone()
    }

    /// What a script answers.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.window.execute(script, arguments.to_vec()).await.unwrap().json().clone()
    }

    pub async fn close(self) {
        let _ = self.window.clone().quit().await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
    }
}
