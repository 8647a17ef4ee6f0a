//! The program itself, started as a user starts it, and stopped by its id whatever becomes of the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest wait for a process to do what it is bound to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the program with these settings and no others, in an empty working directory.
pub fn keylend(folder: &TempDir, settings: &[(&str, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keylend"));
    command.current_dir(folder.path()).env_clear().args(arguments);
    command.envs(settings.iter().map(|(name, value)| (*name, value)));
    command.envs(std::env::var("KEYLEND_TEST_COMBINE").map(|way| ("KEYLEND_COMBINE", way)));
    command
}

/// Runs a command to its end.
#[allow(dead_code, reason = "not every test runs commands")]
pub fn output(mut command: Command, input: &str) -> Output {
    use std::io::Write;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A serving process.
pub struct Program {
    child: Child,
    /// Reads what it says on stderr, to the end.
    reader: Option<std::thread::JoinHandle<()>>,
    log: Arc<Mutex<String>>,
    /// Where it logs to, if that is not stderr.
    file: Option<PathBuf>,
    /// Where it serves: `http://127.0.0.1:PORT`.
    pub url: String,
}

impl Program {
    /// Starts it on a free port and waits until its log says that it serves.
    pub fn serve(command: Command) -> Self {
        Self::start(command, "started")
    }

    /// The same for one that logs to a file.
    #[allow(dead_code, reason = "not every test has a log file")]
    pub fn serve_logging_to(command: Command, file: &Path) -> Self {
        Self::start_logging_to(command, "started", Some(file.to_owned()))
    }

    /// The same for one that serves where its settings say.
    #[allow(dead_code, reason = "not every test names an address")]
    pub fn serve_as_it_is(command: Command, file: &Path) -> Self {
        Self::spawn(command, "started", Some(file.to_owned()))
    }

    /// Starts it on a free port and waits until its log tells this event, with the address.
    pub fn start(command: Command, event: &str) -> Self {
        Self::start_logging_to(command, event, None)
    }

    fn start_logging_to(mut command: Command, event: &str, file: Option<PathBuf>) -> Self {
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        Self::spawn(command, event, file)
    }

    fn spawn(mut command: Command, event: &str, file: Option<PathBuf>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
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
        let mut program = Self { child, reader: Some(reader), log, file, url: String::new() };
        program.url = program.wait_for(|log| {
            let line = log.lines().find(|line| tells(line, event))?;
            let port: String = line.split("127.0.0.1:").nth(1)?.chars().take_while(char::is_ascii_digit).collect();
            Some(format!("http://127.0.0.1:{port}"))
        });
        program
    }

    /// Sends it a signal: `TERM`, `HUP`, ..
    #[allow(dead_code, reason = "not every test sends one")]
    pub fn signal(&self, signal: &str) {
        let told = Command::new("kill").args(["-s", signal]).arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
    }

    /// Waits until it has logged what is looked for.
    pub fn wait_for<T>(&mut self, found: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(&self.log()) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    #[allow(dead_code, reason = "not every test does something to the process")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        match &self.file {
            Some(file) => std::fs::read_to_string(file).unwrap_or_default(),
            None => self.log.lock().unwrap().clone(),
        }
    }

    /// Tells it to end (SIGTERM) and waits until it has.
    #[allow(dead_code, reason = "not every test ends it well")]
    pub fn terminate(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it has ended.
    #[allow(dead_code, reason = "not every test ends it well")]
    pub fn ended(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        // What it said last is read only now.
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status, self.log())
    }
}

/// Whether a line of the log, as text or JSON, tells this event.
pub fn tells(line: &str, event: &str) -> bool {
    line.contains(&format!("event=\"{event}\"")) || line.contains(&format!("\"event\":\"{event}\""))
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
