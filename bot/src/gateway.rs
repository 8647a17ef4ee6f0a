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
use serenity::http::Http;
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

/// The bot's place on Discord.
pub(crate) struct Gateway {
    pub(crate) rest: Arc<Rest>,
    pub(crate) http: Http,
    pub(crate) handler: Handler,
    /// Whether the bot is connected.
    pub(crate) connected: watch::Sender<bool>,
}

impl Gateway {
    /// Connects, and stays connected until the bot is to stop.
    ///
    /// # Errors
    /// Where Discord will never have the bot as it is set.
    pub(crate) async fn stay_until(self, stop: CancellationToken) -> Result<(), Failure> {
        let Some(address) = stop.run_until_cancelled(address(&self.rest)).await.transpose()? else { return Ok(()) };
        let client = ClientBuilder::new_with_http(self.http, INTENTS).event_handler(self.handler);
        let Some(client) = stop.run_until_cancelled(client.into_future()).await else { return Ok(()) };
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
            () = watch(&manager, &self.connected) => {}
            () = stop.cancelled() => {}
        }
        // Where there is no connection, this waits for one: whoever told the bot to stop has a limit.
        manager.shutdown_all().await;
        Ok(())
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

/// Tells when the connection is lost and when it is back.
async fn watch(manager: &ShardManager, connected: &watch::Sender<bool>) {
    let started = Instant::now();
    let mut told = None;
    loop {
        let is = manager
            .runners
            .lock()
            .await
            .get(&ShardId(0))
            .is_some_and(|runner| runner.stage == ConnectionStage::Connected);
        connected.send_replace(is);
        match (is, told) {
            (true, None) => told = Some(true),
            (true, Some(false)) => {
                tracing::info!(event = "gateway_back", "the connection to Discord is back");
                told = Some(true);
            }
            (false, Some(true)) => {
                tracing::warn!(
                    event = "gateway_lost",
                    "the connection to Discord is lost; tried again until it is back"
                );
                told = Some(false);
            }
            (false, None) if started.elapsed() > FIRST => {
                tracing::warn!(
                    event = "gateway_lost",
                    "no connection to Discord comes about; tried again until one does"
                );
                told = Some(false);
            }
            _ => {}
        }
        sleep(LOOK).await;
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
