//! The connection to Discord, from the first request to the last. What is lost comes back by itself; what an operator
//! has to set right ends it.

use std::sync::Arc;
use std::time::Duration;

use keylend::back_off::BackOff;
use keylend::cli::Failure;
use keylend::config::Fault;
use serenity::Client;
use serenity::all::{ClientBuilder, GatewayError, GatewayIntents, ShardId};
use serenity::gateway::{ConnectionStage, ShardManager};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::handler::Handler;
use crate::rest::Rest;

/// What the bot wants to hear of. MESSAGE_CONTENT is privileged: it has to be switched on in the developer portal.
const INTENTS: GatewayIntents =
    GatewayIntents::GUILDS.union(GatewayIntents::GUILD_MESSAGES).union(GatewayIntents::MESSAGE_CONTENT);

/// How often the connection is looked at, and how long the first one may take before it is told of as missing.
const LOOK: Duration = Duration::from_millis(500);
const FIRST: Duration = Duration::from_secs(10);

/// How long nothing may be heard of the connection: almost three of Discord's heartbeats.
const SILENCE: Duration = Duration::from_secs(120);

/// The bot's place on Discord.
pub(crate) struct Gateway {
    rest: Arc<Rest>,
    handler: Arc<Handler>,
    /// Whether the bot is connected.
    connected: watch::Sender<bool>,
    /// What the log says of that; None = nothing yet.
    told: Option<bool>,
}

impl Gateway {
    pub(crate) fn new(rest: Arc<Rest>, handler: Handler, connected: watch::Sender<bool>) -> Self {
        Self { rest, handler: Arc::new(handler), connected, told: None }
    }

    /// Connects, and stays connected until the bot is to stop.
    ///
    /// # Errors
    /// Where Discord will never have the bot as it is set.
    pub(crate) async fn stay_until(mut self, stop: CancellationToken) -> Result<(), Failure> {
        while !stop.is_cancelled() {
            let Some(address) = stop.run_until_cancelled(address(&self.rest)).await.transpose()? else { break };
            let http = self.rest.another().map_err(no_client)?;
            let client = ClientBuilder::new_with_http(http, INTENTS).event_handler_arc(Arc::clone(&self.handler));
            let Some(client) = stop.run_until_cancelled(client.into_future()).await else { break };
            let mut client: Client = client.map_err(|error| of_client(&error))?;
            // serenity asks once more by itself, and where that fails it goes to the public gateway, whatever is set.
            *client.ws_url.lock().await = address;
            let manager = Arc::clone(&client.shard_manager);
            tokio::select! {
                ended = client.start() => {
                    return Err(match ended {
                        Ok(()) => Failure::Failed("the connection to Discord ended".to_owned()),
                        Err(error) => of_client(&error),
                    });
                }
                // serenity waits without a limit for the first word of a server that accepted its connection.
                () = self.watch_until_silent(&manager) => {}
                () = stop.cancelled() => {}
            }
            // Where there is no connection, this waits for one: whoever told the bot to stop has a limit.
            manager.shutdown_all().await;
        }
        Ok(())
    }

    /// Tells when the connection is lost and when it is back, until nothing was heard of it for too long.
    async fn watch_until_silent(&mut self, manager: &ShardManager) {
        let began = Instant::now();
        let (mut last, mut heard) = (None, began);
        while heard.elapsed() < SILENCE {
            let runner = manager.runners.lock().await.get(&ShardId(0)).map(|runner| (runner.stage, runner.latency));
            // The latency is another one after each heartbeat.
            if runner != last {
                (last, heard) = (runner, Instant::now());
            }
            let is = runner.is_some_and(|(stage, _)| stage == ConnectionStage::Connected);
            self.tell(is, began.elapsed() > FIRST);
            sleep(LOOK).await;
        }
        self.tell(false, true);
    }

    fn tell(&mut self, is: bool, is_late: bool) {
        self.connected.send_replace(is);
        match (is, self.told) {
            (true, Some(false)) => tracing::info!(event = "gateway_back", "the connection to Discord is back"),
            (false, Some(true)) => tracing::warn!(
                event = "gateway_lost",
                "the connection to Discord is lost; tried again until it is back"
            ),
            (false, None) if is_late => tracing::warn!(
                event = "gateway_lost",
                "no connection to Discord comes about; tried again until one does"
            ),
            (false, None) => return,
            _ => {}
        }
        self.told = Some(is);
    }
}

/// The gateway's address, asked for as often as it takes.
async fn address(rest: &Rest) -> Result<String, Failure> {
    let mut back_off = BackOff::new();
    let mut told = None;
    loop {
        let error = match rest.gateway().await {
            Ok(address) => return Ok(address),
            Err(error) if error.is_token_refused() => return Err(token_refused()),
            Err(error) => error,
        };
        let said = Some(error.to_string());
        if told != said {
            tracing::warn!(event = "gateway_lost", %error, "Discord does not tell where its gateway is; tried again until it does");
            told = said;
        }
        sleep(error.pause(&mut back_off)).await;
    }
}

fn of_client(error: &serenity::Error) -> Failure {
    match error {
        serenity::Error::Gateway(GatewayError::InvalidAuthentication) => token_refused(),
        serenity::Error::Gateway(GatewayError::DisallowedGatewayIntents | GatewayError::InvalidGatewayIntents) => {
            intents_refused()
        }
        // Its text can hold anything.
        _ => Failure::Failed(
            "Discord's gateway ended the connection for good; RUST_LOG=serenity=debug tells more".to_owned(),
        ),
    }
}

/// No client for HTTP, of which the system is the reason.
pub(crate) fn no_client(error: reqwest::Error) -> Failure {
    Failure::Failed(format!("no client for HTTP can be made: {error}"))
}

fn token_refused() -> Failure {
    let advice = "Discord refused the token: make a new one in the developer portal \
                  (https://discord.com/developers/applications), under Bot > Reset Token";
    Failure::Usage(vec![Fault::new("DISCORD_BOT_TOKEN", advice)])
}

fn intents_refused() -> Failure {
    let advice = "Discord refused the intents: switch on Message Content Intent in the developer portal \
                  (https://discord.com/developers/applications), under Bot > Privileged Gateway Intents";
    Failure::Usage(vec![Fault::new("intents", advice)])
}
