//! A process that does not outlive its test.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::within;
use crate::place::Place;

/// How long a killed process may take to go.
const GONE: Duration = Duration::from_secs(10);

/// A program over the store at `place`, to be started with these settings and nothing else of the environment.
pub fn program(path: impl AsRef<OsStr>, place: &Place) -> Command {
    let mut command = Command::new(path);
    command.env_clear().envs(place.settings()).env("KEYLEND_STORE_TIMEOUT", "60s");
    command.envs(std::env::var("KEYLEND_TEST_COMBINE").map(|way| ("KEYLEND_COMBINE", way)));
    command
}

/// A running program: its lines come one by one, and it is killed when this is dropped.
pub struct Process {
    child: Child,
    stdout: mpsc::UnboundedReceiver<String>,
    stderr: mpsc::UnboundedReceiver<String>,
    /// What was read of stderr, to be shown where the test fails.
    told: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a command.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program can be started");
        let told = Arc::default();
        let stdout = lines(child.stdout.take().unwrap(), None);
        let stderr = lines(child.stderr.take().unwrap(), Some(Arc::clone(&told)));
        Self { child, stdout, stderr, told }
    }

    /// The next line of stdout; None when the process has closed it.
    pub async fn line(&mut self) -> Option<String> {
        within("a line of stdout", self.stdout.recv()).await
    }

    /// The next line of stderr that has `text` in it.
    pub async fn log_with(&mut self, text: &str) -> String {
        loop {
            match within(text, self.stderr.recv()).await {
                Some(line) if line.contains(text) => return line,
                Some(_) => {}
                None => panic!("the program ended without telling `{text}`: {}", self.told()),
            }
        }
    }

    /// Writes a line to its stdin.
    pub async fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// All that was read of stderr.
    pub fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        within("the end of a process", self.child.wait()).await.unwrap()
    }

    /// SIGKILL: it ends wherever it is.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    /// Waits until it is gone: nothing may touch the test's store when that is dropped.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && started.elapsed() < GONE {
            std::thread::sleep(Duration::from_millis(2));
        }
        if std::thread::panicking() {
            eprintln!("a process told: {}", self.told());
        }
    }
}

fn lines(
    from: impl AsyncRead + Unpin + Send + 'static,
    told: Option<Arc<Mutex<Vec<String>>>>,
) -> mpsc::UnboundedReceiver<String> {
    let (send, lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut reader = BufReader::new(from).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            if let Some(told) = &told {
                told.lock().unwrap().push(line.clone());
            }
            // Read on when nobody listens: the process must never wait for its reader.
            let _ = send.send(line);
        }
    });
    lines
}
