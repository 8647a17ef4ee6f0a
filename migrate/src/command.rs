//! The command line: what can be typed, and what it ends with.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use keylend::audit::Begun;
use keylend::cli::act::Acts;
use keylend::cli::{self, Failure, output};
use keylend::config::{Fault, Flags, Purpose, Settings, Source, StoreSettings};
use keylend::domain::Policy;
use keylend::store::Store;
use keylend::store::mongodb::MongoStore;
use keylend::store::vault::Vault;

use crate::pages::Keys;
use crate::stop::until_stopped;
use crate::{migrate, reset, undo, verify};

/// The name in complaints.
const PROGRAM: &str = "keylend-migrate";

/// Turns the credits of the older programs into usage counts, while they and keylend run.
#[derive(Parser)]
#[command(name = PROGRAM, version, after_help = EXAMPLES)]
#[command(mut_arg("listen", |arg| arg.hide(true)), mut_arg("insecure_open", |arg| arg.hide(true)))]
#[command(mut_arg("data", |arg| arg.hide(true)))]
struct Arguments {
    /// The pool
    #[arg(long, default_value = "stability")]
    pool: String,
    /// Change nothing: say what would become of the keys
    #[arg(long, conflicts_with_all = ["verify", "reset_usage"])]
    dry_run: bool,
    /// Where a key has a usage_count below what its credits say, raise it to that
    #[arg(long, conflicts_with_all = ["verify", "undo", "reset_usage"])]
    take_larger: bool,
    /// Change nothing: read every key again and reckon whether it is what the formula makes of what it held
    #[arg(long, conflicts_with_all = ["undo", "reset_usage"])]
    verify: bool,
    /// Give the keys their credits back
    #[arg(long, conflicts_with = "reset_usage")]
    undo: bool,
    /// Set the counts of all keys to 0, as keylend keys reset --all does
    #[arg(long)]
    reset_usage: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// How many keys are listed after the summary, masked
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    list: u16,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

const EXAMPLES: &str = "Examples:
  keylend-migrate --dry-run                 what would become of the keys
  keylend-migrate                           migrate them; again, to go on after a stop
  keylend-migrate --verify                  check every key
  keylend-migrate --take-larger             raise the counts that disagree with the credits
  keylend-migrate --undo --yes              give the credits back
  keylend-migrate --pool mine --list 0      another pool, without a list of its keys

Services and the older programs may go on meanwhile. Settings come from flags, the environment, .env and
keylend.toml, as those of keylend.

Ends with 0 done; 1 some keys are invalid or need another run, the others are done; 2 it could not be done;
64 the command line or the settings are faulty.";

/// Runs the command line and answers its exit code: 0; 1 some keys are invalid, or left; 2 failed; 64 usage.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => cli::end(PROGRAM, execute(arguments)),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 64 } else { 0 })
        }
    }
}

fn execute(arguments: Arguments) -> Result<(), Failure> {
    let source = Source::of_process(arguments.flags.clone());
    let settings = Settings::read(source, Purpose::Command).map_err(Failure::Usage)?;
    let _log = cli::start_log(&settings.log, false)?;
    let Arguments { dry_run, take_larger, yes, json, .. } = arguments;
    cli::until_done(async {
        if arguments.reset_usage {
            pool(&settings, &arguments.pool)?;
            return reset::run(&settings, &arguments.pool, yes, json).await;
        }
        let undone = undo::Asked { dry_run, yes, json };
        let policy = pool(&settings, &arguments.pool)?;
        if arguments.undo {
            undo::confirmed(&arguments.pool, undone)?;
        }
        let target = Target::open(&settings, policy).await?;
        until_stopped(async |stop| {
            if arguments.verify {
                verify::run(&target, json, stop).await
            } else if arguments.undo {
                undo::run(&target, undone, stop).await
            } else {
                let asked = migrate::Asked { dry_run, take_larger, list: usize::from(arguments.list), json };
                migrate::run(&target, asked, stop).await
            }
        })
        .await
    })
}

/// The pool of this name.
fn pool(settings: &Settings, name: &str) -> Result<Policy, Failure> {
    settings.pools.iter().find(|pool| pool.name.as_str() == name).cloned().ok_or_else(|| {
        let known: Vec<&str> = settings.pools.iter().map(|pool| pool.name.as_str()).collect();
        Failure::Usage(vec![Fault::new(
            "--pool",
            format!("there is no pool of this name; there are {}", known.join(", ")),
        )])
    })
}

/// What is migrated.
pub(crate) struct Target {
    pub(crate) pool: Policy,
    pub(crate) keys: Keys,
    place: String,
    acts: Acts,
}

impl Target {
    async fn open(settings: &Settings, pool: Policy) -> Result<Self, Failure> {
        let StoreSettings::MongoDb { uri, database } = &settings.store else {
            let advice = "credits are in a MongoDB only: set the connection string of the one that holds them";
            return Err(Failure::Usage(vec![Fault::new("MONGODB_URI", advice)]));
        };
        let store = MongoStore::connect(uri, database.as_deref(), settings.store_timeout, Vault::default()).await?;
        store.ping().await?;
        if let Some(other) = store.elsewhere(&pool).await {
            let text = format!(
                "{} is used; database {other} has a collection {} as well: set MONGODB_DATABASE={other} where that is meant",
                store.describe(),
                pool.collection
            );
            output::complain_as(PROGRAM, &text);
        }
        let acts = Acts::of(settings)?;
        Ok(Self { acts, keys: store.documents(&pool), place: store.describe(), pool })
    }

    /// What it is, in a line.
    pub(crate) fn told(&self) -> String {
        format!("pool {}: {} in {}", self.pool.name, self.pool.collection, self.place)
    }

    /// An act is about to be done to the whole pool; None where nothing is changed.
    pub(crate) async fn begin(&self, act: &'static str, dry_run: bool) -> Result<Option<Begun>, Failure> {
        Ok(match dry_run {
            true => None,
            false => Some(self.acts.begin(act, Some(&self.pool.name), None).await?),
        })
    }
}
