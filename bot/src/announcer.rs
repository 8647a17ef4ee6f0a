//! Alerts: sent once, all of a look in one message, and remembered before the next look.

use std::sync::Arc;

use keylend::config::AlertLow;
use serenity::all::ChannelId;

use crate::alerts::Announced;
use crate::rest::{Rest, RestError};
use crate::state_file::StateFile;
use crate::stats::Outcome;
use crate::texts;

/// Who announces.
pub(crate) struct Announcer {
    rest: Arc<Rest>,
    channel: ChannelId,
    low: AlertLow,
    file: StateFile,
    /// What was announced so far.
    announced: Announced,
    /// What was last said of why nothing can be announced or kept: said once, until there was nothing of the kind.
    trouble: Option<String>,
}

impl Announcer {
    /// One that goes on where the file ends.
    pub(crate) fn new(rest: Arc<Rest>, channel: ChannelId, low: AlertLow, file: StateFile) -> Self {
        let announced = file.announced().clone();
        Self { rest, channel, low, file, announced, trouble: None }
    }

    /// Announces what this look found. What could not be sent comes again after the next look.
    pub(crate) async fn after(&mut self, look: &Outcome) {
        let why = look.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let (next, alerts) = self.announced.after(look.as_ref().map(|had| &had.snapshot).map_err(|_| &*why), &self.low);
        if !alerts.is_empty() {
            if let Err(error) = self.rest.send(self.channel, &texts::announcement(&alerts)).await {
                return self.tell_unsent(&error);
            }
            tracing::info!(event = "announced", alerts = alerts.len(), "told the channel of ALERT_CHANNEL_ID");
        }
        self.announced = next;
        match self.file.keep(&self.announced) {
            Ok(()) => self.trouble = None,
            Err(error) => {
                let error =
                    format!("what was announced cannot be kept in the file of KEYLEND_BOT_STATE ({})", error.kind());
                self.tell_once(error, "a restart announces it once more");
            }
        }
    }

    fn tell_unsent(&mut self, error: &RestError) {
        self.tell_once(error.to_string(), error.advice().unwrap_or("it is tried again after the next look"));
    }

    fn tell_once(&mut self, error: String, advice: &str) {
        if self.trouble.as_ref() != Some(&error) {
            tracing::warn!(event = "not_announced", error, "the channel of ALERT_CHANNEL_ID: {advice}");
            self.trouble = Some(error);
        }
    }
}
