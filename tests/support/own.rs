//! A MongoDB of a test's own, which can be killed. `tests/mongodb/own` starts it, and stops it when this end of the
//! pipe is closed: by the drop of [`OwnServer`], or by the end of this process, whatever that is.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{MONGODB_OWN, PATIENCE, within};

pub struct OwnServer {
    script: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    pub uri: String,
}

impl OwnServer {
    pub async fn start() -> Self {
        let mut command = std::process::Command::new(MONGODB_OWN);
        // Not in the process group of the tests: who stops those by their group leaves it to clear up.
        command.process_group(0);
        let mut script =
            Command::from(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash is there");
        let input = script.stdin.take();
        let output = BufReader::new(script.stdout.take().unwrap()).lines();
        let mut server = Self { script, input, output, uri: String::new() };
        server.uri = server.line().await;
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.uri.trim_start_matches("mongodb://").split('/').next().unwrap().parse().unwrap()
    }

    /// SIGKILL, to all of its processes.
    pub async fn kill(&mut self) {
        self.tell("kill").await;
    }

    /// Starts it again on what it has on disk.
    pub async fn start_again(&mut self) {
        self.tell("start").await;
    }

    async fn tell(&mut self, command: &str) {
        self.input.as_mut().unwrap().write_all(format!("{command}\n").as_bytes()).await.unwrap();
        assert_eq!(self.line().await, command);
    }

    async fn line(&mut self) -> String {
        let line = within("tests/mongodb/own", self.output.next_line()).await;
        line.unwrap().expect("tests/mongodb/own ended; what it said is above")
    }
}

impl Drop for OwnServer {
    /// Waits until it is gone, so that a test that has ended has nothing running.
    fn drop(&mut self) {
        drop(self.input.take());
        let started = Instant::now();
        while matches!(self.script.try_wait(), Ok(None)) && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
