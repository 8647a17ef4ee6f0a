//! A member of a crowd: the example program `crowd`, and what it told.

use std::path::PathBuf;

use keylend::domain::Policy;
use serde::Deserialize;

use super::process::{self, Process};
use crate::place::Place;

/// One line of a member.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Ready,
    Leased { key: String, entry: String },
    GivenBack { entry: String },
    Granted { key: String, entry: String, plan: Plan },
    Reported { entry: String, outcome: Outcome },
    Done { leased: u64, given_back: u64, granted: u64, used: u64, gone: u64, refused: u64, duration_ms: u64 },
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    Report,
    ReportLate,
    Forget,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Used,
    Gone,
}

/// A running member.
pub struct Member {
    process: Process,
    events: Vec<Event>,
}

impl Member {
    /// Starts one on a pool of the store at `place`; it does nothing before [`Member::go`].
    pub async fn start(place: &Place, pool: &Policy, arguments: &[&str]) -> Self {
        let mut command = process::program(crowd(), place);
        command.args(["--pool", pool.name.as_str(), "--wait"]).args(arguments);
        let mut member = Self { process: Process::start(command), events: Vec::new() };
        member.told(1, |event| *event == Event::Ready).await;
        member
    }

    /// Lets it begin.
    pub async fn go(&mut self) {
        self.process.tell("go").await;
    }

    /// Reads on until it has told `count` events like this.
    pub async fn told(&mut self, count: usize, like: impl Fn(&Event) -> bool) {
        while self.events.iter().filter(|event| like(event)).count() < count {
            assert!(self.read_line().await, "the member ended: {}", self.process.told());
        }
    }

    /// Reads to its end, which must be a good one, and answers all that it told.
    pub async fn ended(mut self) -> Vec<Event> {
        while self.read_line().await {}
        let status = self.process.ended().await;
        assert!(status.success(), "{status}: {}", self.process.told());
        self.events.clone()
    }

    /// Kills it, and answers all that it told before.
    pub async fn killed(mut self) -> Vec<Event> {
        self.process.kill().await;
        while self.read_line().await {}
        self.events.clone()
    }

    async fn read_line(&mut self) -> bool {
        match self.process.line().await {
            Some(line) => {
                // A killed member may leave half a line: it told nothing by it.
                self.events.extend(serde_json::from_str::<Event>(&line).ok());
                true
            }
            None => false,
        }
    }
}

/// Examples are built beside the tests.
fn crowd() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/crowd");
    assert!(program.exists(), "{} is not there: `cargo build --examples` makes it", program.display());
    program
}
