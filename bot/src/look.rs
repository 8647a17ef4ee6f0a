//! The statistics looked at again and again: what is watched is shown, what runs out is announced.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::announcer::Announcer;
use crate::stats::Stats;
use crate::texts;

/// Who looks.
pub(crate) struct Looks {
    pub(crate) stats: Arc<Stats>,
    /// From one look to the next.
    pub(crate) every: Duration,
    /// What the bot shows that it watches; None before the first look.
    pub(crate) presence: watch::Sender<Option<String>>,
    /// Whether the last look found statistics; None before the first.
    pub(crate) found: watch::Sender<Option<bool>>,
    /// None = nobody is told.
    pub(crate) announcer: Option<Announcer>,
}

impl Looks {
    /// Looks, from when Discord first knows the bot, until it is to stop; then ends between two looks.
    pub(crate) async fn look_until(mut self, known: CancellationToken, stop: CancellationToken) {
        let mut next = interval(self.every);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::select! {
            () = stop.cancelled() => return,
            () = known.cancelled() => {}
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = next.tick() => {}
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let outcome = self.stats.now().await;
        let had = outcome.as_ref().ok();
        self.presence.send_replace(Some(texts::presence(had.map(|had| &had.snapshot))));
        let before = self.found.send_replace(Some(had.is_some()));
        match &outcome {
            Err(error) if before != Some(false) => {
                tracing::warn!(event = "stats_lost", %error, "the statistics of STATS_API cannot be had");
            }
            Ok(_) if before == Some(false) => tracing::info!(event = "stats_back", "the statistics can be had again"),
            _ => {}
        }
        if let Some(announcer) = &mut self.announcer {
            announcer.after(&outcome).await;
        }
    }
}
