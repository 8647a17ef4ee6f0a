//! The command `stats`, as a message after the prefix and as a slash command.

use std::time::Duration;

use serde_json::{Value, json};
use serenity::all::{CommandInteraction, Message};
use tokio::time::timeout;

use crate::rest::{Rest, RestError};
use crate::stats::Stats;
use crate::texts;

/// How long a slash command is kept without an answer: Discord gives it up after 3 s.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Kinds of responses to a slash command.
mod response {
    pub(super) const MESSAGE: u8 = 4;
    pub(super) const WILL_COME: u8 = 5;
}

/// Whether a message is the command.
pub(crate) fn is_asked(content: &str, prefix: &str) -> bool {
    let first = content.split_whitespace().next();
    first.and_then(|word| word.strip_prefix(prefix)) == Some(texts::COMMAND)
}

/// Answers a message, as a reply to it.
pub(crate) async fn answer_message(rest: &Rest, stats: &Stats, message: &Message) -> Result<(), RestError> {
    let mut answer = answer(stats).await;
    // Where it was deleted meanwhile, the answer comes without the reference.
    answer["message_reference"] = json!({"message_id": message.id, "fail_if_not_exists": false});
    rest.send(message.channel_id, &answer).await
}

/// Answers a slash command: at once, or where the statistics take their time, when they are there.
pub(crate) async fn answer_command(rest: &Rest, stats: &Stats, command: &CommandInteraction) -> Result<(), RestError> {
    let mut answer = std::pin::pin!(answer(stats));
    if let Ok(answer) = timeout(AT_ONCE, &mut answer).await {
        let response = json!({"type": response::MESSAGE, "data": answer});
        return rest.respond(command.id, &command.token, &response).await;
    }
    rest.respond(command.id, &command.token, &json!({"type": response::WILL_COME})).await?;
    rest.respond_late(command.application_id, &command.token, &answer.await).await
}

async fn answer(stats: &Stats) -> Value {
    let dashboard = stats.now().await.ok().map(|had| texts::dashboard(&had.snapshot, had.at));
    texts::answer(dashboard.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_the_first_word() {
        for (content, prefix, asked) in [
            ("!stats", "!", true),
            ("  !stats  ", "!", true),
            ("!stats please", "!", true),
            ("$$stats", "$$", true),
            ("🌱stats", "🌱", true),
            ("!statistics", "!", false),
            ("!Stats", "!", false),
            ("! stats", "!", false),
            ("stats", "!", false),
            ("say !stats", "!", false),
            ("!!stats", "!", false),
            ("", "!", false),
        ] {
            assert_eq!(is_asked(content, prefix), asked, "{content}");
        }
    }
}
