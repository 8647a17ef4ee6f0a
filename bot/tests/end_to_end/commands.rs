//! What people ask for, and what they get.

use serde_json::{Value, json};

use crate::bot::Bot;
use crate::discord::{APPLICATION, Act, Discord, Reply, TOKEN, message};
use crate::run;
use crate::stats_server::{Answer, StatsServer, flask};

/// The answer to the command where the older server has 12 and 0 keys, but for its time.
fn dashboard(timestamp: &Value) -> Value {
    json!({
        "title": "API Statistics Dashboard",
        "color": 0x0034_98db,
        "fields": [
            {"name": "🌱 Plant ID Keys", "value": "Available: 12\nStatus: Keys available", "inline": true},
            {"name": "❤️ Health ID Keys", "value": "Available: 0\nStatus: File is empty", "inline": true},
            {"name": "🔄 Requests Until Rotation", "value": "Plant ID: 37\nHealth ID: 100", "inline": true},
        ],
        "footer": {"text": "Last Updated"},
        "timestamp": timestamp,
    })
}

#[test]
fn the_bot_says_who_it_is_sets_its_commands_and_shows_what_it_watches() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(12, 0).await);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        assert_eq!(discord.until_watching().await, "🌱 12 Plant | ❤️ 0 Health");
        let set = discord.until("commands", |seen| Some(seen.calls_of("PUT", "/commands").first()?.body.clone())).await;
        let expected = json!([{"name": "stats", "type": 1, "description": "Show what the API key pools hold"}]);
        assert_eq!(set, expected);
        bot.until_logged("commands_set");
        let seen = discord.seen();
        let identify = seen.frames_of(2);
        assert_eq!(identify.len(), 1);
        // Guilds, their messages, and what is in these.
        assert_eq!(identify[0].data["intents"], (1 << 0) | (1 << 9) | (1 << 15));
        assert_eq!(identify[0].data["token"], format!("Bot {TOKEN}"));
        let presence = seen.frames_of(3)[0].data["activities"][0].clone();
        assert_eq!(presence["type"], 3, "watching");
        let started = bot.until_logged("event=\"started\"");
        let invite = format!("client_id={APPLICATION}&scope=bot+applications.commands&permissions=84992");
        assert!(started.contains(&invite), "{started}");
        let starting = bot.until_logged("event=\"starting\"");
        assert!(starting.contains("Message Content") && starting.contains("Embed Links"), "{starting}");
        bot.terminate();
    });
}

#[test]
fn a_message_and_a_slash_command_are_answered_with_the_same() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(12, 0).await);
        let bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        discord.write("!stats");
        let answer = discord.until_messages(1).await.remove(0);
        let embed = &answer["embeds"][0];
        assert_eq!(embed, &dashboard(&embed["timestamp"]));
        assert_eq!(answer["message_reference"]["message_id"], message("", false)["id"]);
        assert_eq!(answer["allowed_mentions"], json!({"parse": []}), "nobody is pinged");
        let timestamp: keylend::domain::Timestamp = embed["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(timestamp.as_millis() > 1_700_000_000_000);

        discord.command("stats", "interaction-1");
        let callback = |seen: &crate::discord::Seen| Some((*seen.calls_of("POST", "/callback").first()?).clone());
        let callback = discord.until("a callback", callback).await;
        assert_eq!(callback.path, "/interactions/600000000000000001/interaction-1/callback");
        assert_eq!(callback.body["type"], 4);
        let embed = &callback.body["data"]["embeds"][0];
        assert_eq!(embed, &dashboard(&embed["timestamp"]));
        bot.terminate();
    });
}

#[test]
fn what_is_not_for_the_bot_is_not_answered() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let bot = Bot::start(&discord, &stats.address, &[("COMMAND_PREFIX", "$$")]);
        discord.until_watching().await;
        // Among them what the bot says itself, which comes back to it.
        discord.write_as_bot("$$stats");
        for content in ["!stats", "stats", "$$statistics", "what does $$stats do?", ""] {
            discord.write(content);
        }
        discord.command("other", "interaction-1");
        discord.write("$$stats");
        discord.command("stats", "interaction-2");
        discord
            .until("both answers", |seen| {
                (seen.messages().len() == 1 && seen.calls_of("POST", "/callback").len() == 1).then_some(())
            })
            .await;
        bot.terminate();
        let seen = discord.seen();
        assert_eq!((seen.messages().len(), seen.calls_of("POST", "/callback").len()), (1, 1), "{seen:?}");
    });
}

#[test]
fn a_slash_command_waits_for_slow_statistics() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let bot = Bot::start(&discord, &stats.address, &[("REFRESH_INTERVAL", "3600")]);
        discord.until_watching().await;
        stats.answer(Answer::Later(flask(12, 0)));
        // The last answer is good for a second.
        loop {
            discord.command("stats", "interaction-1");
            let callbacks = |seen: &crate::discord::Seen| seen.calls_of("POST", "/callback").last().cloned().cloned();
            let (count, callback) = discord
                .until("a callback", |seen| {
                    let count = seen.calls_of("POST", "/callback").len();
                    Some((count, callbacks(seen)?))
                })
                .await;
            if callback.body["type"] == 5 {
                break;
            }
            assert!(count < 1000, "it never waits");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(discord.seen().calls_of("PATCH", "/@original").len(), 0);
        stats.go_on();
        let late =
            discord.until("the answer", |seen| Some((*seen.calls_of("PATCH", "/@original").first()?).clone())).await;
        assert_eq!(late.path, format!("/webhooks/{APPLICATION}/interaction-1/messages/@original"));
        assert_eq!(late.body["embeds"][0], dashboard(&late.body["embeds"][0]["timestamp"]));
        bot.terminate();
    });
}

#[test]
fn a_command_that_cannot_be_answered_says_which_permission_is_missing() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        for (status, code, permission) in
            [(403, 50001, "View Channels"), (403, 50013, "Send Messages"), (400, 160_002, "Read Message History")]
        {
            let refusal = json!({"message": "no", "code": code});
            discord.answer_next("/messages", [Reply::Json(status, refusal)]);
            discord.write("!stats");
            let line = bot.until_logged(&format!("(code {code})"));
            assert!(line.contains("not_answered") && line.contains(permission), "{line}");
        }
        bot.terminate();
    });
}

#[test]
fn commands_that_cannot_be_set_are_told_of_and_the_bot_goes_on() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        // A failure of Discord's is tried again, a refusal is not.
        let failed = Reply::Json(500, json!({"message": "500: Internal Server Error", "code": 0}));
        let refused = Reply::Json(403, json!({"message": "Missing Access", "code": 50001}));
        discord.answer_next("/commands", [failed.clone(), failed, refused]);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        let line = bot.until_logged_times("commands_not_set", 2);
        assert!(line.contains("applications.commands"), "{line}");
        discord.until_watching().await;
        discord.write("!stats");
        discord.until_messages(1).await;
        // At the next session, they are set.
        discord.act(Act::Send(json!({"op": 9, "d": false})));
        bot.until_logged("event=\"commands_set\"");
        let log = bot.terminate();
        assert_eq!(log.matches("event=\"commands_not_set\"").count(), 2, "each reason once: {log}");
    });
}

#[test]
fn an_event_that_is_not_understood_is_seen_by_these_tests() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        let mut broken = message("!stats", false);
        broken["embeds"] = Value::Null;
        discord.act(Act::Dispatch("MESSAGE_CREATE", broken));
        bot.until_logged("An unknown event was received");
        bot.terminate_whatever_it_heard();
    });
}
