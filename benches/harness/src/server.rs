//! Processes of a run: keylend, or a baseline. Each listens on a free port of this machine, and is stopped by its id.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bson::doc;

use crate::failure::Failure;
use crate::load::Connection;
use crate::place::{Base, Place};

/// The longest that a server takes to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often one that is not ready yet is asked again.
const AGAIN: Duration = Duration::from_millis(1);

/// A setting of the program that is measured which goes through to it, so that both ways can be.
const THROUGH: [&str; 2] = ["KEYLEND_COMBINE", "RUST_LOG"];

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From its start to its first `readyz`.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// An instance of keylend at this place.
    pub(crate) async fn keylend(program: &Path, place: &Place) -> Result<Self, Failure> {
        let address = free_address()?;
        let mut command = keylend(program, place);
        command.args(["serve", "--listen", &address.to_string()]);
        Self::start(command, place, address, "/readyz").await
    }

    /// A baseline, which is this program itself.
    pub(crate) async fn baseline(name: &str, place: &Place, uses_per_key: u32) -> Result<Self, Failure> {
        let base = place.database.as_ref().ok_or_else(|| Failure::Bench("baselines need a MongoDB".to_owned()))?;
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.current_dir(place.folder.path()).env_clear().args(["baseline", name]);
        command.args(["--mongodb-database", &base.name, "--listen", &address.to_string()]);
        command.args(["--uses-per-key", &uses_per_key.to_string()]);
        command.env("KEYLEND_TEST_MONGODB_URI", &base.uri);
        Self::start(command, place, address, "/livez").await
    }

    async fn start(mut command: Command, place: &Place, address: SocketAddr, ready: &str) -> Result<Self, Failure> {
        let log = place.folder.path().join("server.log");
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let began = Instant::now();
        let child = command.spawn()?;
        let mut server = Self { child, address, ready_after: Duration::ZERO };
        while !is_ready(address, ready).await {
            let ended = server.child.try_wait()?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(Failure::Bench(format!("a server did not start ({ended:?}): {log}")));
            }
            tokio::time::sleep(AGAIN).await;
        }
        server.ready_after = began.elapsed();
        Ok(server)
    }

    /// The memory that is its own, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        resident(&status).ok_or_else(|| Failure::Bench("/proc does not tell a process's memory".to_owned()))
    }

    /// Tells it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status()?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                return Err(Failure::Bench("a server does not end".to_owned()));
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    /// Whatever becomes of the benchmark, none of its servers stays.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command of keylend at this place, with its settings and no others.
fn keylend(program: &Path, place: &Place) -> Command {
    let mut command = Command::new(program);
    command.current_dir(place.folder.path()).env_clear().envs(place.settings());
    command.envs(THROUGH.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// Imports the keys of a file, as an operator does.
pub(crate) async fn import(program: &Path, place: &Place, pool: &str, file: &Path) -> Result<(), Failure> {
    let mut command = tokio::process::Command::from(keylend(program, place));
    command.args(["keys", "import", "--pool", pool]).arg(file);
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::Bench(format!("the keys could not be imported: {said}")));
    }
    match &place.database {
        Some(base) => analyse(base).await,
        None => Ok(()),
    }
}

/// Tells the server's planner what is in a database. FerretDB is slow in a new collection until that was done; MongoDB
/// needs nothing of it.
pub(crate) async fn analyse(base: &Base) -> Result<(), Failure> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/mongodb/analyse");
    let mut command = tokio::process::Command::new(script);
    let done = command.arg(&base.name).env("KEYLEND_TEST_MONGODB_URI", &base.uri).kill_on_drop(true).status().await?;
    if done.success() { Ok(()) } else { Err(Failure::Bench("the database could not be analysed".to_owned())) }
}

/// The name of the server behind the wire protocol, and its version.
pub(crate) async fn name(base: &Base) -> Result<String, Failure> {
    let told = base.database().run_command(doc! {"buildInfo": 1}).await?;
    Ok(name_of(&told))
}

fn name_of(build_info: &bson::Document) -> String {
    let version = |of: &bson::Document| of.get_str("version").unwrap_or("of no version").to_owned();
    match build_info.get_document("ferretdb") {
        Ok(ferretdb) => format!("FerretDB {}", version(ferretdb)),
        Err(_) => format!("MongoDB {}", version(build_info)),
    }
}

/// An address that nobody listens on.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

async fn is_ready(address: SocketAddr, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let Ok(mut connection) = Connection::open(address).await else { return false };
    connection.ask(request.as_bytes()).await.is_ok_and(|answer| answer.status == 200)
}

fn resident(status: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_tells_it() {
        assert_eq!(resident("Name:\tkeylend\nVmRSS:\t   12345 kB\nThreads:\t3\n"), Some(12_345 * 1024));
        assert_eq!(resident("Name:\tkeylend\n"), None);
    }

    #[test]
    fn a_compatible_server_is_not_called_mongodb() {
        let ferretdb = doc! {"version": "7.0.77", "ferretdb": {"version": "v2.7.0"}};
        assert_eq!(name_of(&ferretdb), "FerretDB v2.7.0");
        assert_eq!(name_of(&doc! {"version": "8.0.4"}), "MongoDB 8.0.4");
    }
}
