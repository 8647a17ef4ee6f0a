//! Alerts: said once, in one message, remembered over a restart.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bot::{Bot, output};
use crate::discord::{CHANNEL, Discord, Reply, TOKEN};
use crate::run;
use crate::stats_server::{Answer, StatsServer, flask};

/// One pool of keylend's, with so many usable keys and rejected ones.
fn pool(name: &str, usable: u64, rejected: u64) -> Value {
    json!({
        "name": name, "uses_per_key": 4, "uses": {"left": usable * 4},
        "keys": {"total": 50, "usable": usable, "leased": 0, "resting": 0, "spent": 0, "disabled": 7, "invalid": 0},
        "rejected": rejected,
    })
}

fn pools(pools: &[Value]) -> Value {
    let mut stats = flask(9, 9);
    stats["pools"] = json!(pools);
    stats
}

/// A Discord, statistics and a bot that alerts, each with a folder of its own.
struct Watched {
    discord: Discord,
    stats: StatsServer,
    folder: TempDir,
}

impl Watched {
    async fn new(stats: &Value) -> Self {
        let stats = StatsServer::start(Answer::Text(200, stats.to_string())).await;
        Self { discord: Discord::start().await, stats, folder: tempfile::tempdir().unwrap() }
    }

    fn bot(&self) -> Bot {
        let settings = [("ALERT_CHANNEL_ID", CHANNEL), ("ALERT_LOW", "4,plenty=0")];
        Bot::start_in(&self.folder, &self.discord, &self.stats.address, &settings)
    }

    /// Answers these statistics, waits for the message that there is to be, and answers its text.
    async fn after(&self, stats: &Value) -> String {
        let before = self.discord.seen().messages().len();
        self.stats.answer_json(stats);
        let messages = self.discord.until_messages(before + 1).await;
        messages[before]["content"].as_str().unwrap().to_owned()
    }

    /// Waits for so many more looks.
    async fn looks(&self, count: usize) {
        self.stats.until_asked(self.stats.asked().len() + count).await;
    }
}

#[test]
fn each_alert_is_said_once_and_several_in_one_message() {
    run(async {
        let watched = Watched::new(&pools(&[pool("a", 9, 1), pool("b", 9, 0), pool("plenty", 9, 0)])).await;
        let bot = watched.bot();
        watched.discord.until_watching().await;
        watched.looks(2).await;
        assert_eq!(watched.discord.seen().messages().len(), 0, "nothing is wrong");
        let said = watched.after(&pools(&[pool("a", 3, 3), pool("b", 0, 0), pool("plenty", 1, 0)])).await;
        let expected = "🟡 **a** runs low: 3 keys with uses left\n\
                        🚫 **a**: 2 more keys were rejected by the provider (3 now)\n\
                        🔴 **b** is dry: no key has uses left";
        assert_eq!(said, expected);
        watched.looks(3).await;
        assert_eq!(watched.discord.seen().messages().len(), 1, "once is enough");
        let said = watched.after(&pools(&[pool("a", 9, 3), pool("b", 1, 0), pool("plenty", 1, 0)])).await;
        let expected =
            "🟢 **a** has recovered: 9 keys with uses left\n🟠 **b** is no longer dry, but low: 1 key with uses left";
        assert_eq!(said, expected);
        bot.terminate();
        let seen = watched.discord.seen();
        assert_eq!(seen.messages().len(), 2);
        assert!(seen.messages().iter().all(|message| message["allowed_mentions"] == json!({"parse": []})));
    });
}

#[test]
fn what_was_announced_survives_a_restart() {
    run(async {
        let watched = Watched::new(&flask(0, 9)).await;
        let bot = watched.bot();
        let said = watched.discord.until_messages(1).await;
        assert_eq!(said[0]["content"], "🔴 **Plant ID** is dry: no key has uses left");
        // The message is answered before it is remembered: at the end, what is on its way is.
        bot.terminate();
        let file = watched.folder.path().join("keylend-bot.json");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let bot = watched.bot();
        watched.looks(3).await;
        assert_eq!(watched.discord.seen().messages().len(), 1, "it was said before");
        assert_eq!(watched.after(&flask(20, 9)).await, "🟢 **Plant ID** has recovered: 20 keys with uses left");
        bot.terminate();
        // Without the file it does not know.
        std::fs::remove_file(&file).unwrap();
        watched.stats.answer_json(&flask(0, 9));
        let bot = watched.bot();
        watched.discord.until_messages(3).await;
        bot.terminate();
    });
}

#[test]
fn an_alert_that_cannot_be_sent_names_the_permission_once_and_comes_later() {
    run(async {
        let watched = Watched::new(&flask(0, 9)).await;
        let refusal = json!({"message": "Missing Permissions", "code": 50013});
        watched.discord.answer_always("/messages", Some(Reply::Json(403, refusal)));
        let mut bot = watched.bot();
        let line = bot.until_logged("event=\"not_announced\"");
        assert!(line.contains("permission Send Messages"), "{line}");
        watched.discord.until_messages(3).await;
        watched.discord.answer_always("/messages", None);
        bot.until_logged("event=\"announced\"");
        watched.looks(2).await;
        let log = bot.terminate();
        assert_eq!(log.matches("event=\"not_announced\"").count(), 1, "{log}");
        assert_eq!(log.matches("event=\"announced\"").count(), 1, "{log}");
    });
}

#[test]
fn the_same_trouble_is_told_of_again_when_there_was_none_in_between() {
    run(async {
        let watched = Watched::new(&flask(0, 9)).await;
        let refusal = json!({"message": "Missing Permissions", "code": 50013});
        watched.discord.answer_always("/messages", Some(Reply::Json(403, refusal)));
        let mut bot = watched.bot();
        bot.until_logged("event=\"not_announced\"");
        watched.stats.answer_json(&flask(9, 9));
        watched.looks(2).await;
        watched.stats.answer_json(&flask(0, 9));
        bot.until_logged_times("event=\"not_announced\"", 2);
        bot.terminate();
    });
}

#[test]
fn a_channel_that_is_not_there_is_named_with_its_setting() {
    run(async {
        let watched = Watched::new(&flask(0, 9)).await;
        let refusal = json!({"message": "Unknown Channel", "code": 10003});
        watched.discord.answer_always("/messages", Some(Reply::Json(404, refusal)));
        let mut bot = watched.bot();
        let line = bot.until_logged("event=\"not_announced\"");
        assert!(line.contains("see ALERT_CHANNEL_ID"), "{line}");
        bot.terminate();
    });
}

#[test]
fn statistics_that_are_away_and_back_are_said() {
    run(async {
        let watched = Watched::new(&flask(9, 9)).await;
        let mut bot = watched.bot();
        watched.discord.until_watched("🌱 9 Plant | ❤️ 9 Health").await;
        watched.stats.answer(Answer::Text(500, json!({"error": "Error retrieving statistics"}).to_string()));
        let said = watched.discord.until_messages(1).await.remove(0);
        let text = said["content"].as_str().unwrap();
        assert!(
            text.starts_with("⚠️ The API statistics cannot be had: the server answered with the status 500"),
            "{text}"
        );
        watched.discord.until_watched("stats unavailable").await;
        assert_eq!(watched.after(&flask(9, 9)).await, "✅ The API statistics are back");
        watched.discord.until_watched("🌱 9 Plant | ❤️ 9 Health").await;
        bot.until_logged("event=\"stats_lost\"");
        bot.until_logged("event=\"stats_back\"");
        bot.terminate();
        assert_eq!(watched.discord.seen().messages().len(), 2);
    });
}

#[test]
fn without_a_channel_nobody_is_told_and_no_file_is_made() {
    run(async {
        let watched = Watched::new(&flask(0, 0)).await;
        let bot = Bot::start_in(&watched.folder, &watched.discord, &watched.stats.address, &[]);
        watched.discord.until_watching().await;
        watched.looks(2).await;
        bot.terminate();
        assert_eq!(watched.discord.seen().messages().len(), 0);
        assert_eq!(std::fs::read_dir(watched.folder.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_file_that_is_not_the_bots_keeps_it_from_starting() {
    let settings = [("DISCORD_BOT_TOKEN", TOKEN), ("ALERT_CHANNEL_ID", CHANNEL), ("KEYLEND_BOT_STATE", "mine.json")];
    let done = output(&settings, &[("mine.json", "{\"mine\": 1}")], &[]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(64), "{said}");
    assert!(said.lines().last().unwrap().starts_with("keylend-bot: KEYLEND_BOT_STATE: the file is not one"), "{said}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_of_and_the_bot_goes_on() {
    run(async {
        let watched = Watched::new(&flask(0, 9)).await;
        let settings = [("ALERT_CHANNEL_ID", CHANNEL), ("KEYLEND_BOT_STATE", "nowhere/state.json")];
        let mut bot = Bot::start_in(&watched.folder, &watched.discord, &watched.stats.address, &settings);
        let line = bot.until_logged("event=\"not_announced\"");
        assert!(line.contains("KEYLEND_BOT_STATE"), "{line}");
        watched.looks(2).await;
        let log = bot.terminate();
        assert_eq!(log.matches("event=\"not_announced\"").count(), 1, "{log}");
        assert_eq!(watched.discord.seen().messages().len(), 1);
    });
}
