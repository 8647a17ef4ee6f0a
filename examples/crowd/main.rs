//! A member of a crowd: many callers at once that lease keys of a pool and report them, until the pool is spent.
//!
//! One process is one instance: it lends through the same library as the server, sweeps as the server does, and
//! shares the store with whoever else uses it. Start several beside each other to load a store, or to see that the
//! counts stay exact. What happens is told on stdout, one JSON object per line; no line has a secret.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod witness;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use keylend::config::{Flags, Purpose, Settings, Source, StoreSettings};
use keylend::domain::{Outcome, Picks, Policy, PoolName, Report};
use keylend::pool::{Ask, Lent, Pool, PoolError, Pools, Serving, sweep_until};
use keylend::store::mongodb::MongoStore;
use keylend::store::sqlite::SqliteStore;
use keylend::store::{Store, StoreError};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use witness::Witness;

/// Lease keys of a pool with many callers at once, and report them, until the pool is spent.
#[derive(Parser)]
#[command(name = "crowd", after_help = LINES)]
#[command(mut_arg("listen", |arg| arg.hide(true)), mut_arg("insecure_open", |arg| arg.hide(true)))]
struct Arguments {
    /// The pool
    #[arg(long, default_value = "stability")]
    pool: PoolName,
    /// Uses that one key of it gives [default: the pool's own, else 4]
    #[arg(long, value_name = "N")]
    uses_per_key: Option<u32>,
    /// Callers at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    tasks: u32,
    /// How long a lease lasts, such as 100ms [default: the pool's own]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// How long a caller uses its key before it reports
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "0s")]
    hold: Duration,
    /// How many leases of a hundred are never reported
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    forgotten: u8,
    /// How many of a hundred are reported only after they have lapsed
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    late: u8,
    /// Wait for a line on stdin before the first lease, so that several members begin together
    #[arg(long)]
    wait: bool,
    /// The name that the leases carry
    #[arg(long, default_value = "crowd")]
    name: String,
    #[command(flatten)]
    flags: Flags,
}

const LINES: &str = "Lines on stdout, each an object with `event`:
  ready       the store is prepared; with --wait, a line on stdin is waited for
  leased      the store reserved a use for this instance: `key`, `entry`
  given_back  the instance returned one that came too late to be answered: `entry`
  granted     a caller got it: `key`, `entry`, and what it is going to do with it: `plan`
  reported    the caller's report was answered: `entry`, and `outcome` used or gone
  done        the pool is spent: how often each happened, and how long it took

The store is found as keylend finds it, by flags, the environment and .env. Exit codes: 0 the pool is spent; 2 it
could not be asked; 64 usage.";

/// The longest pause of a caller who got no key, while others may still give one back.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How much longer than its lease a late caller waits.
const TOO_LATE: Duration = Duration::from_millis(20);

/// How long the end waits for leases on their way back.
const SETTLE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("crowd: {why}");
            ExitCode::from(2)
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<(), String> {
    let source = Source::of_process(arguments.flags.clone());
    let settings = Settings::read(source, Purpose::Command)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let store = Arc::new(Witness::new(open(&settings).await.map_err(|error| error.chain())?));
    let serving = Serving { time_limit: settings.store_timeout, combine: settings.combine };
    let pools = Pools::new(store.clone(), [policy(&arguments)], serving);
    pools.prepare().await.map_err(|error| error.chain())?;
    let sweeping = tokio::spawn(sweep_until(pools.clone(), std::future::pending()));
    say(&json!({"event": "ready"}));
    if arguments.wait {
        let line = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
        line.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }

    let started = Instant::now();
    let mut crowd = JoinSet::new();
    let arguments = Arc::new(arguments);
    for _ in 0..arguments.tasks {
        let pool = pools.get(arguments.pool.as_str()).map_err(|error| error.chain())?.clone();
        let caller = Caller { pool, arguments: Arc::clone(&arguments), tally: Tally::default() };
        crowd.spawn(caller.until_spent());
    }
    let mut all = Tally::default();
    while let Some(tally) = crowd.join_next().await {
        all.add(&tally.map_err(|error| error.to_string())??);
    }
    let took = started.elapsed();
    pools.settle(SETTLE).await;
    sweeping.abort();
    let rate = f64::from(all.granted) / took.as_secs_f64();
    eprintln!("{} leases in {:.2} s: {rate:.0} a second", all.granted, took.as_secs_f64());
    say(&json!({
        "event": "done", "leased": store.leased(), "given_back": store.given_back(), "granted": all.granted,
        "used": all.used, "gone": all.gone, "refused": all.refused, "duration_ms": took.as_millis() as u64,
    }));
    Ok(())
}

/// Prints one line, at once and whole.
fn say(line: &Value) {
    println!("{line}");
}

/// The pool's own policy where it is built in, with what the arguments say otherwise.
fn policy(arguments: &Arguments) -> Policy {
    let built_in = Policy::built_in().into_iter().find(|policy| policy.name == arguments.pool);
    let policy = built_in.unwrap_or_else(|| Policy::new(arguments.pool.clone(), Picks::LeastRecentlyUsed, 4));
    Policy { uses_per_key: arguments.uses_per_key.unwrap_or(policy.uses_per_key), ..policy }
}

async fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    let limit = settings.store_timeout;
    Ok(match &settings.store {
        StoreSettings::MongoDb { uri, database } => {
            Arc::new(MongoStore::connect(uri, database.as_deref(), limit, settings.vault.clone()).await?)
        }
        StoreSettings::Sqlite { path } => {
            Arc::new(SqliteStore::open(path, limit.mul_f64(0.9), settings.vault.clone()).await?)
        }
    })
}

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
struct Tally {
    granted: u32,
    used: u32,
    gone: u32,
    refused: u32,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.granted += other.granted;
        self.used += other.used;
        self.gone += other.gone;
        self.refused += other.refused;
    }
}

/// What a caller is going to do with its lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Report,
    ReportLate,
    Forget,
}

impl Plan {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::ReportLate => "report_late",
            Self::Forget => "forget",
        }
    }
}

struct Caller {
    pool: Pool,
    arguments: Arc<Arguments>,
    tally: Tally,
}

impl Caller {
    async fn until_spent(mut self) -> Result<Tally, String> {
        loop {
            let ask = Ask { ttl: self.arguments.ttl, by: self.arguments.name.clone(), ..Ask::default() };
            match self.pool.lease(ask).await {
                Ok(lent) => self.spend(lent).await?,
                // Nothing can bring a key back: all of them are spent.
                Err(PoolError::NoUsableKey { stats, .. }) if stats.retry_after().is_none() => return Ok(self.tally),
                Err(PoolError::NoUsableKey { .. } | PoolError::Overloaded) => self.ask_again().await,
                Err(PoolError::Store(StoreError::Away(_) | StoreError::Unresolved(_))) => self.ask_again().await,
                Err(error) => return Err(error.chain()),
            }
        }
    }

    async fn ask_again(&mut self) {
        self.tally.refused += 1;
        sleep(ASK_AGAIN.mul_f64(rand::random_range(0.2..1.0))).await;
    }

    async fn spend(&mut self, lent: Lent) -> Result<(), String> {
        let lease = lent.lease().clone();
        let plan = self.plan();
        lent.answered();
        self.tally.granted += 1;
        let entry = lease.entry.to_string();
        say(&json!({"event": "granted", "key": lease.key.to_string(), "entry": entry, "plan": plan.as_str()}));
        match plan {
            Plan::Forget => return Ok(()),
            Plan::Report => sleep(self.arguments.hold).await,
            Plan::ReportLate => sleep(self.arguments.ttl.unwrap_or(self.pool.policy().lease_ttl) + TOO_LATE).await,
        }
        let used = Report::new(Outcome::Used, None).map_err(|error| error.to_string())?;
        let outcome = loop {
            match self.pool.report(&lease, used).await {
                Ok(_) => break Outcome::Used.as_str(),
                Err(PoolError::LeaseGone) => break "gone",
                // Nothing was changed: it can be sent again.
                Err(PoolError::Store(StoreError::Away(_))) => self.ask_again().await,
                Err(error) => return Err(error.chain()),
            }
        };
        if outcome == "gone" {
            self.tally.gone += 1
        } else {
            self.tally.used += 1
        }
        say(&json!({"event": "reported", "entry": entry, "outcome": outcome}));
        Ok(())
    }

    fn plan(&self) -> Plan {
        match rand::random_range(0..100) {
            dice if dice < self.arguments.forgotten => Plan::Forget,
            dice if dice < self.arguments.forgotten.saturating_add(self.arguments.late) => Plan::ReportLate,
            _ => Plan::Report,
        }
    }
}
