//! A real `keylend serve`, asked over its socket.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{self, Process};
use super::within;
use crate::place::Place;

/// A running server.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    client: reqwest::Client,
    /// The working directory: an empty one, without a `.env`.
    _folder: TempDir,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("no text {member} in {:?}", self.body))
    }
}

impl Server {
    /// Starts one on the store at `place`, and waits until it serves.
    pub async fn start(place: &Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = process::program(env!("CARGO_BIN_EXE_keylend"), place);
        command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
        let mut process = Process::start(command);
        let started = process.log_with("event=\"started\"").await;
        let address = started.split(' ').find_map(|field| field.strip_prefix("address="));
        let address = address.unwrap_or_else(|| panic!("no address in {started}")).parse().unwrap();
        Self { process, address, client: reqwest::Client::new(), _folder: folder }
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_with(path, None, body).await
    }

    /// A POST, with an Idempotency-Key or without. Null is no body.
    pub async fn post_with(&self, path: &str, idempotency_key: Option<&str>, body: Value) -> Answer {
        let request = self.client.post(format!("http://{}{path}", self.address));
        let request = if body.is_null() { request } else { request.json(&body) };
        let request = match idempotency_key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let answer = within("an answer", async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap())
        });
        let (status, body) = answer.await;
        Answer { status, body: serde_json::from_slice(&body).unwrap() }
    }
}
