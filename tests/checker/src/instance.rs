//! A keylend of the run: a process that is killed and started again, always at the same address.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long an instance may take until it serves.
const READY: Duration = Duration::from_secs(60);

/// What an instance is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) keylend: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) address: SocketAddr,
}

pub(crate) struct Instance {
    setup: Setup,
    child: Child,
}

impl Instance {
    pub(crate) async fn start(setup: Setup) -> Result<Self, String> {
        let child = spawn(&setup)?;
        let mut instance = Self { setup, child };
        instance.until_ready().await?;
        Ok(instance)
    }

    /// One more beside it, which waits for the store as long as it takes.
    pub(crate) async fn patient(&self) -> Result<Self, String> {
        let mut setup = self.setup.clone();
        setup.settings.push(("KEYLEND_STORE_TIMEOUT".to_owned(), "60s".to_owned()));
        setup.address = free_address()?;
        Self::start(setup).await
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.setup.address
    }

    /// SIGKILL, wherever it is.
    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        self.child.kill().await.map_err(|error| format!("an instance could not be killed: {error}"))
    }

    pub(crate) fn start_again(&mut self) -> Result<(), String> {
        self.child = spawn(&self.setup)?;
        Ok(())
    }

    /// Waits until it is ready.
    pub(crate) async fn until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY;
        let url = format!("http://{}/readyz", self.setup.address);
        let client = client();
        loop {
            if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(format!(
                    "keylend at {} is not ready: {ended:?}; see {}",
                    self.setup.address,
                    log(&self.setup.folder, self.setup.address).display()
                ));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// An address that is free now.
pub(crate) fn free_address() -> Result<SocketAddr, String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.map_err(|error| format!("there is no free port: {error}"))
}

fn log(folder: &Path, address: SocketAddr) -> PathBuf {
    folder.join(format!("keylend-{}.log", address.port()))
}

fn spawn(setup: &Setup) -> Result<Child, String> {
    let told = |error: std::io::Error| format!("{} cannot be started: {error}", setup.keylend.display());
    let log = File::options().create(true).append(true).open(log(&setup.folder, setup.address)).map_err(told)?;
    let mut command = Command::new(&setup.keylend);
    command.args(["serve", "--listen", &setup.address.to_string()]);
    command.current_dir(&setup.folder).env_clear().envs(setup.settings.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    command.spawn().map_err(told)
}

/// A client that gives up at last: every wait has an end.
pub(crate) fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy();
    builder.build().unwrap_or_default()
}
