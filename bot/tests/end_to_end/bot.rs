//! The bot itself, started as a user starts it, and stopped by its id whatever becomes of the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::PATIENCE;
use crate::discord::{Discord, TOKEN};

/// The token for the statistics.
pub const STATS_TOKEN: &str = "kl_a-token-for-statistics-that-is-told-to-nobody";

/// serenity's line for an event that it does not understand: no handler runs then.
const UNKNOWN: &str = "An unknown event was received";

/// The command with these settings and no others.
pub fn command(folder: &TempDir, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keylend-bot"));
    command.current_dir(folder.path()).env_clear().envs(settings.iter().copied());
    command.stdin(Stdio::null());
    command
}

/// Runs the bot to its end with these settings, which keep it from starting.
pub fn output(settings: &[(&str, &str)], files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    command(&folder, settings).args(arguments).output().unwrap()
}

/// A bot that runs.
pub struct Bot {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Reads the log to its end.
    reader: Option<JoinHandle<()>>,
}

impl Bot {
    /// A bot on this Discord, with statistics of this address, a look each second, and these settings over them.
    pub fn start(discord: &Discord, stats: &str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(&folder, discord, stats, settings)
    }

    /// The same in a folder that outlives it.
    pub fn start_in(folder: &TempDir, discord: &Discord, stats: &str, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("DISCORD_API_BASE", discord.base.as_str()),
            ("DISCORD_BOT_TOKEN", TOKEN),
            ("STATS_API", stats),
            ("REFRESH_INTERVAL", "1"),
            ("RUST_LOG", "info,serenity=debug"),
        ];
        all.extend(settings);
        let mut child = command(folder, &all).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    log.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            }
        });
        Self { child, log, reader: Some(reader) }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line of the log that holds this, and answers it.
    pub fn until_logged(&mut self, text: &str) -> String {
        self.until_logged_times(text, 1)
    }

    /// Waits until so many lines hold this, and answers the last of them.
    pub fn until_logged_times(&mut self, text: &str, times: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().lines().filter(|line| line.contains(text)).nth(times - 1) {
                return line.to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "not logged: {text}; {ended:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends it a signal: `TERM`, `HUP`, ..
    pub fn signal(&self, signal: &str) {
        let told = Command::new("kill").args(["-s", signal]).arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
    }

    /// Tells it to end and waits until it has, well, and has understood all that it heard. Answers the log.
    pub fn terminate(self) -> String {
        let log = self.terminate_whatever_it_heard();
        assert!(!log.contains(UNKNOWN), "an event was not understood: {log}");
        log
    }

    /// The same where it heard what cannot be understood.
    pub fn terminate_whatever_it_heard(self) -> String {
        self.signal("TERM");
        let asked = Instant::now();
        let (status, log) = self.ended();
        let took = asked.elapsed();
        assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}: {log}");
        log
    }

    /// Waits until it has ended.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        self.reader.take().unwrap().join().unwrap();
        let log = self.log();
        is_clean(&log);
        (status, log)
    }
}

/// Asserts that no secret is in it.
#[track_caller]
pub fn is_clean(text: &str) {
    for secret in [TOKEN, STATS_TOKEN, &TOKEN[26..]] {
        assert!(!text.contains(secret), "a secret is in it: {text}");
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
