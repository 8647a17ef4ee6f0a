//! The program: settings, log, signals, exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use keylend::cli::{self, Failure};
use keylend::config::{BotSettings, Fault, Flags, Source};
use keylend::shutdown::Signals;
use keylend::telemetry::{self, Log};
use secrecy::ExposeSecret;
use serenity::all::ChannelId;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::announcer::Announcer;
use crate::gateway::{Gateway, no_client};
use crate::handler::Handler;
use crate::health::{self, Health};
use crate::look::Looks;
use crate::rest::Rest;
use crate::state_file::StateFile;
use crate::stats::Stats;

/// How long all that goes on has to end once the bot is to stop.
const ENDING: Duration = Duration::from_secs(3);

/// serenity's lines hold what people write, and tokens of commands. What there is to know of them the bot says itself.
/// `RUST_LOG=serenity=debug` is for tests.
const UNHEARD: &str = "serenity=off";

/// The Discord bot of keylend: what the pools hold at a glance, and a word when something runs out.
#[derive(Parser)]
#[command(name = "keylend-bot", version, after_help = EXAMPLES)]
struct Arguments {
    /// File of settings (KEYLEND_CONFIG, else keylend.toml where it exists)
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

const EXAMPLES: &str = "Examples:
  DISCORD_BOT_TOKEN=... keylend-bot                        statistics of http://localhost:5000/api/stats
  STATS_API=https://keys.example/api/stats keylend-bot     with DISCORD_BOT_TOKEN and STATS_TOKEN in .env

Settings come from the environment, .env and keylend.toml, in this order. docs/settings.md tells of all of them.";

/// Runs the bot and answers its exit code: 0; 2 failed; 64 settings, command line, token or intents are faulty.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => cli::end("keylend-bot", start(arguments)),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 64 } else { 0 })
        }
    }
}

fn start(arguments: Arguments) -> Result<(), Failure> {
    let flags = Flags { config: arguments.config, ..Flags::default() };
    let settings = BotSettings::read(Source::of_process(flags)).map_err(Failure::Usage)?;
    let filter = format!("{UNHEARD},{}", settings.log.filter);
    let log = telemetry::start(&filter, settings.log.format, settings.log.file.as_deref());
    let log = cli::log_started(log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(bot(settings, &log));
    if let Err(failure) = &outcome {
        tracing::error!(event = "stopped", error = %said(failure), "stopped");
    }
    // Whatever still goes on ends with the process.
    runtime.shutdown_background();
    outcome
}

fn said(failure: &Failure) -> String {
    match failure {
        Failure::Usage(faults) => faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; "),
        Failure::Failed(why) | Failure::NotReady(why) => why.clone(),
        Failure::NotAll | Failure::NoSuchKey => String::new(),
    }
}

async fn bot(settings: BotSettings, log: &Log) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (token, base) = (settings.discord_token.expose_secret(), settings.discord_api_base.as_deref());
    let rest = Arc::new(Rest::new(token, base).map_err(no_client)?);
    let stats = Arc::new(Stats::new(&settings.stats_api, settings.stats_token.clone()).map_err(no_client)?);
    let announcer = announcer(&settings, &rest)?;
    let (presence, watched) = watch::channel(None);
    let (connected, found) = (watch::Sender::new(false), watch::Sender::new(None));
    let (known, stop) = (CancellationToken::new(), CancellationToken::new());
    if let Some(address) = settings.listen {
        let listener = cli::listen(address, "KEYLEND_BOT_LISTEN").await?;
        let address = listener.local_addr()?;
        tracing::info!(event = "listening", %address, "/livez and /readyz say how the bot is");
        tokio::spawn(health::serve(listener, Health { connected: connected.subscribe(), found: found.subscribe() }));
    }
    tell_start(&settings);
    let handler = Handler::new(Arc::clone(&rest), Arc::clone(&stats), settings.command_prefix, watched, known.clone());
    let looks = Looks { stats, every: settings.refresh_interval, presence, found, announcer };
    let mut looks = tokio::spawn(looks.look_until(known, stop.clone()));
    let mut gateway = tokio::spawn(Gateway::new(rest, handler, connected).stay_until(stop.clone()));
    let reopen = || {
        if let Err(error) = log.reopen() {
            tracing::warn!(%error, "LOG_FILE cannot be opened anew: the old file is written on");
        }
    };
    tokio::select! {
        ended = &mut gateway => ended.unwrap_or_else(|_| Err(Failure::Failed("a fault of the bot's own".to_owned()))),
        _ = &mut looks => Err(Failure::Failed("a fault of the bot's own: it looks no more".to_owned())),
        signal = signals.stop(reopen) => {
            tracing::info!(event = "stopping", signal, "says goodbye to Discord");
            stop.cancel();
            // An alert that is on its way is remembered before the end.
            let _ = timeout(ENDING, async { tokio::join!(gateway, looks) }).await;
            tracing::info!(event = "stopped", "stopped");
            Ok(())
        }
    }
}

fn announcer(settings: &BotSettings, rest: &Arc<Rest>) -> Result<Option<Announcer>, Failure> {
    let Some(channel) = settings.alert_channel else { return Ok(None) };
    let file = StateFile::open(&settings.state_file)
        .map_err(|error| Failure::Usage(vec![Fault::new("KEYLEND_BOT_STATE", error.to_string())]))?;
    Ok(Some(Announcer::new(Arc::clone(rest), ChannelId::new(channel), settings.alert_low.clone(), file)))
}

/// What the bot needs on Discord, before anything is asked of it.
fn tell_start(settings: &BotSettings) {
    tracing::info!(
        event = "starting",
        // What stands behind a question mark can be a secret.
        stats_api = settings.stats_api.split('?').next(),
        intents = "Guilds, Guild Messages, Message Content (to be switched on in the developer portal: Bot > Privileged \
                   Gateway Intents)",
        permissions = "View Channels, Send Messages, Embed Links, Read Message History",
        "connecting to Discord"
    );
    if let Some(base) = &settings.discord_api_base {
        tracing::warn!(base, "DISCORD_API_BASE is set: the token goes there, and not to Discord");
    }
}
