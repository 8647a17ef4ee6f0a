//! What the bot is seen to watch.

use std::time::Duration;

use serenity::all::{ActivityData, Context};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// The shortest time from one change to the next: Discord takes five in 20 s.
const GAP: Duration = Duration::from_secs(4);

/// Shows these texts, each when it differs from the one before, until the handle is dropped.
///
/// One task is good for one session: what is sent by the context of an older one goes nowhere.
pub(crate) fn show(context: Context, mut texts: watch::Receiver<Option<String>>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut shown = None;
        loop {
            let text = texts.borrow_and_update().clone();
            match text {
                Some(text) if shown.as_ref() != Some(&text) => {
                    context.set_activity(Some(ActivityData::watching(text.clone())));
                    shown = Some(text);
                    sleep(GAP).await;
                }
                _ => {
                    if texts.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }))
}
