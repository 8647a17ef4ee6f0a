//! What happens on Discord, and what the bot does then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keylend::back_off::BackOff;
use serenity::all::{ApplicationId, Context, EventHandler, Interaction, Message, RatelimitInfo, Ready, ResumedEvent};
use serenity::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::rest::{self, Rest, RestError};
use crate::stats::Stats;
use crate::{commands, presence, texts};

/// How many are answered at once; whoever else asks meanwhile is not.
const AT_ONCE: usize = 16;

/// The permissions that the invitation asks for: View Channels, Send Messages, Embed Links, Read Message History.
const PERMISSIONS: u64 = 84992;

/// Hears of it.
pub(crate) struct Handler {
    rest: Arc<Rest>,
    stats: Arc<Stats>,
    prefix: String,
    watched: watch::Receiver<Option<String>>,
    /// Cancelled when Discord first knows the bot.
    known: CancellationToken,
    presence: Mutex<Option<AbortOnDropHandle<()>>>,
    is_registered: AtomicBool,
    room: Semaphore,
}

impl Handler {
    pub(crate) fn new(
        rest: Arc<Rest>,
        stats: Arc<Stats>,
        prefix: String,
        watched: watch::Receiver<Option<String>>,
        known: CancellationToken,
    ) -> Self {
        let (presence, is_registered, room) = (Mutex::default(), AtomicBool::new(false), Semaphore::new(AT_ONCE));
        Self { rest, stats, prefix, watched, known, presence, is_registered, room }
    }

    /// A place among those who are answered; None = there are too many.
    fn place(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.room.try_acquire().ok();
        if place.is_none() {
            tracing::debug!("too many ask at once: one is not answered");
        }
        place
    }

    /// Sets the commands, once; as often as it takes, unless Discord does not want them.
    async fn register(&self, application: ApplicationId) {
        if self.is_registered.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut back_off = BackOff::new();
        let mut told = None;
        loop {
            let error = match self.rest.set_commands(application, &texts::commands()).await {
                Ok(()) => return tracing::info!(event = "commands_set", "/{} can be used", texts::COMMAND),
                Err(error) => error,
            };
            let said = Some(error.to_string());
            if told != said {
                let advice = "/stats cannot be set; invite the bot with the scope applications.commands";
                tracing::warn!(event = "commands_not_set", %error, "{advice}");
                told = said;
            }
            if matches!(&error, RestError::Refused { status, .. } if status.is_client_error()) {
                return self.is_registered.store(false, Ordering::Relaxed);
            }
            sleep(error.pause(&mut back_off)).await;
        }
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn ready(&self, context: Context, ready: Ready) {
        // The task of the session before goes on by a context that leads nowhere any more.
        let shown = presence::show(context, self.watched.clone());
        *self.presence.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        let application = ready.application.id;
        if self.known.is_cancelled() {
            tracing::info!(event = "gateway_renewed", "a new session with Discord began");
        } else {
            self.known.cancel();
            let invite = format!(
                "https://discord.com/oauth2/authorize?client_id={application}&scope=bot+applications.commands\
                 &permissions={PERMISSIONS}"
            );
            let servers = ready.guilds.len();
            tracing::info!(event = "started", name = ready.user.name, servers, invite, "the bot is on Discord");
        }
        self.register(application).await;
    }

    async fn resume(&self, _: Context, _: ResumedEvent) {
        tracing::info!(
            event = "gateway_resumed",
            "the connection to Discord was cut off and goes on; nothing was missed"
        );
    }

    async fn message(&self, _: Context, message: Message) {
        // The bot's own answers are messages, too.
        if message.author.bot || !commands::is_asked(&message.content, &self.prefix) {
            return;
        }
        let Some(_place) = self.place() else { return };
        if let Err(error) = commands::answer_message(&self.rest, &self.stats, &message).await {
            tell_unanswered(&error, message.channel_id.get());
        }
    }

    async fn interaction_create(&self, _: Context, interaction: Interaction) {
        let Interaction::Command(command) = interaction else { return };
        if command.data.name != texts::COMMAND {
            return;
        }
        let Some(_place) = self.place() else { return };
        if let Err(error) = commands::answer_command(&self.rest, &self.stats, &command).await {
            tell_unanswered(&error, command.channel_id.get());
        }
    }

    async fn ratelimit(&self, limited: RatelimitInfo) {
        // Its path can hold the token of a command.
        rest::tell_limited(limited.timeout, "it waits and tries again");
    }
}

fn tell_unanswered(error: &RestError, channel: u64) {
    let advice = error.advice().unwrap_or("it can be asked again");
    tracing::warn!(event = "not_answered", %error, channel, "a command was not answered: {advice}");
}
