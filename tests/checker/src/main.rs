//! Tries to break keylend's promises: three instances on one store, many clients that ask for everything at random,
//! faults on every way, and a check of all that was answered. Exit codes: 0 no violation; 1 violations, each told; 2 it
//! could not be run; 64 usage.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that tells what it found")]
#![allow(clippy::unwrap_used, reason = "a lock of it is poisoned only where it panicked already")]
#![allow(unreachable_pub, reason = "it shares files with the tests")]

mod check;
mod disk;
mod faults;
mod history;
mod instance;
mod operations;
#[path = "../../support/own.rs"]
mod own;
#[path = "../../support/proxy.rs"]
mod proxy;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::check::{Final, Summary, Terms, check};
use self::faults::{Breakable, Injected};
use self::history::{Clock, Event, Pool};
use self::instance::{Instance, Setup};
use self::operations::{Client, Shared};
use self::own::OwnServer;
use self::proxy::{Fault, Proxy};

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The script that starts a MongoDB which can be killed.
const MONGODB_OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../mongodb/own");

/// How long after the last request every lease has lapsed and was settled: 3 s that it lasts, or 2 that it was renewed
/// for, and 2 for the sweep, with as much again for an instance that has just been mended.
const LAPSED: Duration = Duration::from_secs(9);

/// How much later the stats may still tell of an open lease: ten times the time limit of a store, in which they were
/// computed, and as much again.
const OPEN_STILL: Duration = Duration::from_secs(40);

const INSTANCES: usize = 3;

/// How many keys are read ahead for a crowd on MongoDB, at most.
const WINDOW: usize = 512;

/// Tries to break keylend's promises.
#[derive(Parser)]
#[command(name = "keylend-checker", version)]
struct Arguments {
    /// The program that is checked
    #[arg(long, value_name = "PATH")]
    keylend: PathBuf,
    /// The store of the instances; a MongoDB is one of the run's own (tests/mongodb/own)
    #[arg(long, value_enum, default_value_t = StoreKind::Embedded)]
    store: StoreKind,
    /// What the dice begin with, as a failing run tells it [default: a new one]
    #[arg(long)]
    seed: Option<u64>,
    /// How long each round lasts, such as 20s; each has keys of its own
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "20s")]
    round: Duration,
    /// How many requests there are to be at least; rounds follow each other until then
    #[arg(long, value_name = "N", default_value_t = 1)]
    operations: u64,
    /// Clients at once
    #[arg(long, value_name = "N", default_value_t = 48)]
    clients: u64,
    /// How many keys there are for so many clients
    #[arg(long, value_enum, default_value_t = Keys::InTurn)]
    keys: Keys,
    /// Let callers go to the store one by one
    #[arg(long)]
    one_by_one: bool,
    /// Break nothing
    #[arg(long)]
    no_faults: bool,
    /// Fill the disk of the run, one of its own of this size, such as 256m, now and then
    #[arg(long, value_name = "SIZE")]
    disk: Option<String>,
    /// Let the clocks of the instances jump, by this library of libfaketime
    #[arg(long, value_name = "PATH")]
    faketime: Option<PathBuf>,
    /// The bug that the program is to have, where it was built with planted ones
    #[arg(long, value_name = "BUG")]
    planted: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    Embedded,
    Mongodb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Keys {
    Plenty,
    Scarce,
    /// Plenty in one round, scarce in the next
    InTurn,
}

impl Keys {
    fn are_scarce(self, round: u64) -> bool {
        self == Self::Scarce || self == Self::InTurn && round % 2 == 1
    }
}

/// Waits for `what`, but not for ever.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    if let Some(size) = &arguments.disk
        && let Some(code) = disk::on_its_own(size)
    {
        return code;
    }
    match rounds(&arguments).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("checker: {why}");
            ExitCode::from(2)
        }
    }
}

/// Round after round; answers how many violations there were.
async fn rounds(arguments: &Arguments) -> Result<usize, String> {
    let first = arguments.seed.unwrap_or_else(rand::random);
    let (mut asked, mut violations) = (0, 0);
    for round in 0.. {
        let seed = first.wrapping_add(round);
        println!("checker: round {round}, seed {seed}");
        let scarce = arguments.keys.are_scarce(round);
        let found = one_round(arguments, seed, scarce).await?;
        asked += found.asked;
        violations += found.violations.len();
        found.tell();
        if violations > 0 {
            let keys = if scarce { "scarce" } else { "plenty" };
            println!("checker: --seed {seed} --keys {keys} repeats this round");
        }
        if asked >= arguments.operations || violations > 0 {
            println!("checker: {asked} requests in {} rounds, {violations} violations", round + 1);
            break;
        }
    }
    Ok(violations)
}

/// What a round found.
struct Found {
    asked: u64,
    summaries: Vec<(Pool, Summary)>,
    injected: Injected,
    violations: Vec<String>,
    /// All that was asked and answered of the key that the first violation names.
    story: Vec<String>,
}

impl Found {
    fn tell(&self) {
        for (pool, summary) in &self.summaries {
            println!(
                "checker: {}: {} requests, {} keys handed out, {} uses counted, {} answers lost",
                pool.name(),
                summary.operations,
                summary.handed_out,
                summary.counted,
                summary.lost
            );
        }
        let injected: Vec<String> = self.injected.iter().map(|(fault, times)| format!("{fault} {times}x")).collect();
        println!("checker: faults: {}", if injected.is_empty() { "none".to_owned() } else { injected.join(", ") });
        const TOLD: usize = 20;
        self.violations.iter().take(TOLD).for_each(|violation| println!("VIOLATION {violation}"));
        if self.violations.len() > TOLD {
            println!("VIOLATION and {} more", self.violations.len() - TOLD);
        }
        self.story.iter().for_each(|line| println!("checker: {line}"));
    }
}

async fn one_round(arguments: &Arguments, seed: u64, scarce: bool) -> Result<Found, String> {
    let folder =
        tempfile::tempdir_in(disk::folder()).map_err(|error| format!("there is no room for a folder: {error}"))?;
    let clock = Clock::new();
    let mut breakable = set_up(arguments, folder.path()).await?;
    let fronts: Vec<SocketAddr> = breakable.fronts.iter().map(|front| front.address).collect();
    let shared = Shared::new(clock, fronts);

    let mut clients = JoinSet::new();
    clients.spawn(Client::new(&shared, seed).operate(folder.path().join("plantid.txt"), scarce));
    for client in 1..=arguments.clients {
        clients.spawn(Client::new(&shared, seed ^ (client << 32)).use_keys());
    }
    let stopping = {
        let (shared, round) = (shared.clone(), arguments.round);
        tokio::spawn(async move {
            sleep(round).await;
            shared.stop.store(true, Ordering::Relaxed);
        })
    };
    let mut injected = Injected::new();
    if !arguments.no_faults {
        (breakable, injected) = breakable.break_and_mend(&shared, seed).await?;
    }
    let mut history: Vec<Event> = Vec::new();
    while let Some(events) = clients.join_next().await {
        history.extend(events.map_err(|error| format!("a client failed: {error}"))?);
    }
    stopping.abort();
    let finals = match finals(&shared, &breakable.instances).await {
        Ok(finals) => finals,
        Err(why) => return Err(format!("{why}; the logs of the instances stay in {}", disk::keep(folder).display())),
    };
    let is_embedded = arguments.store == StoreKind::Embedded;
    let terms = Terms {
        ahead: if is_embedded { 0 } else { WINDOW },
        has_true_clock: !is_embedded || breakable.clocks.is_empty(),
    };
    let mut violations = std::mem::take(&mut *shared.unexpected.lock().unwrap());
    let mut summaries = Vec::new();
    for pool in Pool::ALL {
        let mut summary = check(pool, terms, &history, &finals[pool.name()]);
        violations.append(&mut summary.violations);
        summaries.push((pool, summary));
    }
    if !violations.is_empty() {
        println!("checker: the logs of the instances stay in {}", disk::keep(folder).display());
    }
    let key = violations.iter().flat_map(|violation| violation.split([' ', '"'])).find(|word| word.starts_with("sk-"));
    let story = key.map(|key| history::story(&history, key)).unwrap_or_default();
    Ok(Found { asked: shared.asked.load(Ordering::Relaxed), summaries, injected, violations, story })
}

/// Three instances on a new store, with a way to each, and a way from each to the database.
async fn set_up(arguments: &Arguments, folder: &Path) -> Result<Breakable, String> {
    let told = |error: std::io::Error| format!("the run cannot be set up: {error}");
    let toml = |pool: Pool| format!("[pools.{}]\nuses_per_key = {}\n", pool.name(), pool.uses());
    let mut policies: String = [Pool::Counting, Pool::Ordered, Pool::Refunding].map(toml).concat();
    policies.push_str("collection = \"refunding_api_keys\"\nlapsed = \"refund\"\n");
    std::fs::write(folder.join("keylend.toml"), policies).map_err(told)?;
    std::fs::write(folder.join("plantid.txt"), "").map_err(told)?;
    let database = match arguments.store {
        StoreKind::Embedded => None,
        StoreKind::Mongodb => Some(OwnServer::start().await),
    };
    let (mut instances, mut fronts, mut backs) = (Vec::new(), Vec::new(), Vec::new());
    let mut clocks = Vec::new();
    for number in 0..INSTANCES {
        let mut settings = vec![("KEYLEND_STORE_TIMEOUT".to_owned(), "2s".to_owned())];
        if let Some(faketime) = arguments.faketime.as_ref().filter(|_| !arguments.no_faults) {
            let clock = folder.join(format!("clock-{number}"));
            faults::set_clock(&clock, 0)?;
            settings.push(("LD_PRELOAD".to_owned(), faketime.display().to_string()));
            settings.push(("FAKETIME_TIMESTAMP_FILE".to_owned(), clock.display().to_string()));
            settings.push(("FAKETIME_CACHE_DURATION".to_owned(), "1".to_owned()));
            settings.push(("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()));
            clocks.push(clock);
        }
        match &database {
            None => settings.push(("KEYLEND_DATA".to_owned(), "keylend.db".to_owned())),
            Some(database) => {
                let back = Proxy::to(database.address(), Fault::None).await;
                settings.push(("MONGODB_URI".to_owned(), format!("mongodb://{}/?directConnection=true", back.address)));
                backs.push(back);
            }
        }
        if arguments.one_by_one {
            settings.push(("KEYLEND_COMBINE".to_owned(), "off".to_owned()));
        }
        if let Some(bug) = &arguments.planted {
            settings.push(("KEYLEND_PLANTED".to_owned(), bug.clone()));
        }
        // Free now: its instance comes back to it whenever it was killed.
        let address = instance::free_address()?;
        let keylend = std::fs::canonicalize(&arguments.keylend).map_err(told)?;
        let setup = Setup { keylend, folder: folder.to_owned(), settings, address };
        instances.push(Instance::start(setup).await?);
        fronts.push(Proxy::to(address, Fault::None).await);
    }
    let disk = arguments.disk.is_some().then(|| folder.to_owned());
    Ok(Breakable { instances, fronts, backs, database, disk, clocks })
}

/// The keys of each pool by their secrets, when every lease has lapsed.
async fn finals(
    shared: &Shared,
    instances: &[Instance],
) -> Result<BTreeMap<&'static str, BTreeMap<String, Final>>, String> {
    sleep(LAPSED).await;
    // Stats of many keys take longer than a run's instances may wait.
    let witness = instances[0].patient().await?;
    let deadline = Instant::now() + OPEN_STILL;
    let mut finals = BTreeMap::new();
    for pool in Pool::ALL {
        loop {
            match exported(shared, witness.address(), pool).await {
                // Stats that took long are answered again for ten times as long.
                Ok(keys) if keys.values().any(|key| key.open > 0) && Instant::now() < deadline => {
                    sleep(Duration::from_millis(200)).await;
                    continue;
                }
                Ok(keys) => _ = finals.insert(pool.name(), keys),
                Err(why) if Instant::now() > deadline => return Err(why),
                Err(_) => {
                    sleep(Duration::from_millis(200)).await;
                    continue;
                }
            }
            break;
        }
    }
    Ok(finals)
}

/// Every key of a pool, as its export tells it; open leases, which an export counts as uses, are those of the stats.
async fn exported(shared: &Shared, address: SocketAddr, pool: Pool) -> Result<BTreeMap<String, Final>, String> {
    let told = |error: reqwest::Error| error.to_string();
    let base = format!("http://{address}/v1/pools/{}", pool.name());
    let stats = shared.client.get(format!("{base}/stats")).send().await.map_err(told)?;
    let stats: Value =
        serde_json::from_slice(&stats.bytes().await.map_err(told)?).map_err(|error| error.to_string())?;
    let open = stats["uses"]["leased"].as_u64().ok_or_else(|| format!("there are no stats, but {stats}"))?;
    let export = shared.client.get(format!("{base}/export")).send().await.map_err(told)?;
    let export = export.text().await.map_err(told)?;
    let mut keys = BTreeMap::new();
    let mut is_whole = false;
    for line in export.lines() {
        let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match line["api_key"].as_str() {
            Some(key) => {
                let usage_count = line["usage_count"].as_u64().ok_or_else(|| format!("no count in {line}"))?;
                keys.insert(key.to_owned(), Final { usage_count, open: 0 });
            }
            None => is_whole = line.get("exported").is_some(),
        }
    }
    if !is_whole {
        return Err("an export was cut off".to_owned());
    }
    if open > 0 {
        keys.insert(format!("all of {}", pool.name()), Final { usage_count: 0, open });
    }
    Ok(keys)
}
