//! The command line: what can be typed, and what each command ends with.

mod keys;
mod output;
mod serve;
mod stats;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Fault, Flags, LogSettings, Purpose, Settings, Source};
use crate::pool::PoolError;
use crate::store::StoreError;
use crate::telemetry::{self, Log};

/// What a command ends with when it does not succeed.
#[derive(Debug)]
pub enum Failure {
    /// There was nothing to show, or some of what was given was no key. Exit code 1.
    NotAll,
    /// It could not be done; the text says why. Exit code 2.
    Failed(String),
    /// The settings or the command line cannot be used. Exit code 64.
    Usage(Vec<Fault>),
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::NoUsableKey { pool, .. } => Self::Failed(format!("pool {pool} has no usable key")),
            other => Self::Failed(other.chain()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.chain())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Lends API keys: the least recently used key that may still be used, every use counted exactly.
#[derive(Parser)]
#[command(name = "keylend", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

const EXAMPLES: &str = "Examples:
  keylend                                  serve on 127.0.0.1:5000, keys in keylend.db
  keylend keys import keys.txt             add keys, one per line
  keylend keys list                        show them, masked
  keylend stats                            what is left in each pool
  MONGODB_URI=mongodb://db/ keylend        serve the keys of a MongoDB

Settings come from flags, the environment and .env, in this order.";

#[derive(Subcommand)]
enum Command {
    /// Serve keys over HTTP (the default)
    Serve,
    /// Add, import, list and find keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show what each pool holds
    Stats(stats::StatsArguments),
}

/// Runs the command line and answers its exit code: 0; 1 nothing found, or some of it invalid; 2 failed; 64 usage.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::NotAll) => ExitCode::from(1),
        Err(Failure::Failed(why)) => {
            output::complain(&why);
            ExitCode::from(2)
        }
        Err(Failure::Usage(faults)) => {
            for fault in faults {
                output::complain(&fault.to_string());
            }
            ExitCode::from(64)
        }
    }
}

fn execute(arguments: Arguments) -> Result<(), Failure> {
    let command = arguments.command.unwrap_or(Command::Serve);
    let serving = matches!(command, Command::Serve);
    let purpose = if serving { Purpose::Serving } else { Purpose::Command };
    let flags = arguments.flags;
    let settings = Settings::read(Source::of_process(flags.clone()), purpose).map_err(Failure::Usage)?;
    let log = start_log(&settings.log, serving)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve => serve::serve(&settings, &flags, &log).await,
            Command::Keys(command) => keys::run(&settings, command).await,
            Command::Stats(arguments) => stats::run(&settings, &arguments).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

/// What commands say is their output; the log is for the server, for what operators do where there is a log file, and
/// for what goes wrong.
fn start_log(log: &LogSettings, serving: bool) -> Result<Log, Failure> {
    let started = match &log.file {
        Some(file) => telemetry::start(&log.filter, log.format, Some(file)),
        None => telemetry::start(if serving { &log.filter } else { "warn" }, log.format, None),
    };
    match started {
        // A file that is the server's alone keeps nobody from a command.
        Err(_) if !serving => Ok(telemetry::start("warn", log.format, None)?),
        Err(error) => {
            let advice = format!("the file cannot be opened ({}): see to its folder and rights", error.kind());
            Err(Failure::Usage(vec![Fault::new("LOG_FILE", advice)]))
        }
        Ok(log) => Ok(log),
    }
}
