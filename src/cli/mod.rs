//! The command line: what can be typed, and what each command ends with. What `keylend-migrate` needs as well is public.

pub mod act;
mod audit;
mod backup;
mod check;
mod completions;
pub mod confirm;
mod health;
mod keys;
pub mod output;
mod reached;
mod serve;
mod stats;
pub mod store;
mod token;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::net::TcpListener;

use crate::config::{Fault, Flags, LogSettings, Purpose, Settings, Source};
use crate::pool::PoolError;
use crate::store::StoreError;
use crate::telemetry::{self, Log};

/// What a command ends with when it does not succeed.
#[derive(Debug)]
pub enum Failure {
    /// There was nothing to show, or some of what was given was no key. Exit code 1.
    NotAll,
    /// The pool does not have the key. Exit code 1.
    NoSuchKey,
    /// The server that was asked is not ready; the text says why. Exit code 1.
    NotReady(String),
    /// It could not be done; the text says why. Exit code 2.
    Failed(String),
    /// The settings or the command line cannot be used. Exit code 64.
    Usage(Vec<Fault>),
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::UnknownKey => Self::NoSuchKey,
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
  keylend check                            what was found, and what to do next
  MONGODB_URI=mongodb://db/ keylend        serve the keys of a MongoDB

Settings come from flags, the environment, .env and keylend.toml, in this order.";

#[derive(Subcommand)]
enum Command {
    /// Serve keys over HTTP (the default)
    #[command(after_help = serve::EXAMPLES)]
    Serve,
    /// Add, import, export, list, find and change keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show what each pool holds
    #[command(after_help = stats::EXAMPLES)]
    Stats(stats::StatsArguments),
    /// Ask the running server whether it is ready
    #[command(after_help = health::EXAMPLES)]
    Health,
    /// Copy the embedded store, beside a running server
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::BackupArguments),
    /// Search the audit: who did what to which key
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::AuditArguments),
    /// Make tokens for callers
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Look at settings and store, and say what to do next; changes nothing
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArguments),
    /// Print a script by which a shell completes keylend's commands
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::CompletionsArguments),
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
    end("keylend", execute(arguments))
}

/// The exit code of what a program came to; on stderr why, where it failed.
pub fn end(program: &str, outcome: Result<(), Failure>) -> ExitCode {
    let complain = |text: &str| output::complain_as(program, text);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::NotAll) => ExitCode::from(1),
        Err(Failure::NoSuchKey) => {
            complain("the pool has no such key");
            ExitCode::from(1)
        }
        Err(Failure::NotReady(why)) => {
            complain(&format!("not ready: {why}"));
            ExitCode::from(1)
        }
        Err(Failure::Failed(why)) => {
            complain(&why);
            ExitCode::from(2)
        }
        Err(Failure::Usage(faults)) => {
            for fault in faults {
                complain(&fault.to_string());
            }
            ExitCode::from(64)
        }
    }
}

fn execute(arguments: Arguments) -> Result<(), Failure> {
    let command = arguments.command.unwrap_or(Command::Serve);
    if let Command::Completions(arguments) = &command {
        // Whatever the settings are.
        return completions::run(arguments);
    }
    let serving = matches!(command, Command::Serve);
    let purpose = match command {
        // What would keep a server from starting is what a check is asked for.
        Command::Serve | Command::Check(_) => Purpose::Serving,
        _ => Purpose::Command,
    };
    let flags = arguments.flags;
    let settings = Settings::read(Source::of_process(flags.clone()), purpose).map_err(Failure::Usage)?;
    let log = start_log(&settings.log, serving)?;
    until_done(async {
        match command {
            Command::Serve => serve::serve(&settings, &flags, &log).await,
            Command::Keys(command) => keys::run(&settings, command).await,
            Command::Stats(arguments) => stats::run(&settings, &arguments).await,
            Command::Health => health::run(&settings).await,
            Command::Backup(arguments) => backup::run(&settings, &arguments).await,
            Command::Audit(arguments) => audit::run(&settings, &arguments),
            Command::Token(command) => token::run(&settings, command),
            Command::Check(arguments) => check::run(&settings, &arguments).await,
            Command::Completions(arguments) => completions::run(&arguments),
        }
    })
}

/// Runs a command on a runtime of its own.
///
/// # Errors
/// Those of the command; or where the system gives no threads.
pub fn until_done(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // The process ends with it. Ending its tasks one by one first would make those of the MongoDB driver panic, and say
    // so, whose counterparts are gone.
    std::mem::forget(runtime);
    outcome
}

/// What a command logs on stderr: what keylend itself has to say is the command's output.
const OF_LIBRARIES: &str = "warn,keylend=off";

/// Starts the log, which is for the server, and for what operators do where there is a log file.
///
/// # Errors
/// Where a server's log file cannot be opened.
pub fn start_log(log: &LogSettings, serving: bool) -> Result<Log, Failure> {
    let started = match &log.file {
        Some(file) => telemetry::start(&log.filter, log.format, Some(file)),
        None => telemetry::start(if serving { &log.filter } else { OF_LIBRARIES }, log.format, None),
    };
    match started {
        // A file that is the server's alone keeps nobody from a command.
        Err(_) if !serving => Ok(telemetry::start(OF_LIBRARIES, log.format, None)?),
        other => log_started(other),
    }
}

/// The log of a program that needs it.
///
/// # Errors
/// The fault of its setting, where it cannot be opened.
pub fn log_started(started: io::Result<Log>) -> Result<Log, Failure> {
    started.map_err(|error| {
        let advice = format!("the file cannot be opened ({}): see to its folder and rights", error.kind());
        Failure::Usage(vec![Fault::new("LOG_FILE", advice)])
    })
}

/// Listens on an address.
///
/// # Errors
/// Why it cannot be used, and `setting`, which names another.
pub async fn listen(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => "is in use: stop the program that holds it, or name another",
            io::ErrorKind::PermissionDenied => "may not be used: name one with a port from 1024",
            io::ErrorKind::AddrNotAvailable => "is not this machine's: name another",
            _ => "cannot be used: name another",
        };
        Failure::Failed(format!("the address {address} {why} with {setting}"))
    })
}
