//! Whatever is asked to be logged, no secret is in it.

use serde_json::json;

use crate::bot::{Bot, STATS_TOKEN, is_clean};
use crate::discord::{Act, CHANNEL, Discord, Reply, message};
use crate::run;
use crate::stats_server::{Answer, StatsServer};

#[test]
fn no_log_holds_a_token_whatever_goes_wrong() {
    run(async {
        for format in ["text", "json"] {
            let (discord, stats) = (Discord::start().await, StatsServer::flask(0, 1).await);
            let folder = tempfile::tempdir().unwrap();
            let settings = [
                ("RUST_LOG", "trace,serenity=trace"),
                ("KEYLEND_LOG_FORMAT", format),
                ("STATS_TOKEN", STATS_TOKEN),
                ("ALERT_CHANNEL_ID", CHANNEL),
            ];
            let mut bot = Bot::start_in(&folder, &discord, &stats.address, &settings);
            discord.until_messages(1).await;
            discord.command("stats", "interaction-told-to-nobody");
            discord.until("a callback", |seen| (!seen.calls_of("POST", "/callback").is_empty()).then_some(())).await;
            let refused = Reply::Json(403, json!({"message": "Missing Permissions", "code": 50013}));
            let limited = Reply::Json(429, json!({"message": "You are being rate limited.", "retry_after": 0.01}));
            discord.answer_next("/callback", [limited, refused.clone()]);
            discord.answer_next("/messages", [refused]);
            discord.command("stats", "interaction-told-to-nobody");
            discord.write("!stats");
            bot.until_logged_times("not_answered", 2);
            stats.answer(Answer::Text(401, STATS_TOKEN.to_owned()));
            bot.until_logged("stats_lost");
            discord.act(Act::Drop);
            bot.until_logged("gateway_resumed");
            discord.act(Act::Dispatch("MESSAGE_CREATE", message("what somebody wrote", false)));
            discord.write("!stats");
            discord.until_messages(3).await;
            let log = bot.terminate();
            is_clean(&log);
            assert!(!log.contains("told-to-nobody"), "{log}");
            is_clean(&std::fs::read_to_string(folder.path().join("keylend-bot.json")).unwrap());
            let seen = discord.seen();
            assert!(seen.calls.iter().all(|call| !call.body.to_string().contains(STATS_TOKEN)), "{seen:?}");
            let asked = stats.asked();
            assert!(asked.iter().all(|(_, token)| token.as_deref() == Some(&format!("Bearer {STATS_TOKEN}"))));
        }
    });
}

#[test]
fn what_is_told_to_discord_is_told_to_nobody_else() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let elsewhere = Discord::start().await;
        let to = |path: &str| Reply::Redirect(format!("{}/api/v10{path}", elsewhere.base));
        discord.answer_next("/gateway", [to("/gateway")]);
        discord.answer_next("/messages", [to("/channels/1/messages")]);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        let line = bot.until_logged("event=\"gateway_lost\"");
        assert!(line.contains("status 307"), "{line}");
        discord.until_watching().await;
        discord.write("!stats");
        let line = bot.until_logged("event=\"not_answered\"");
        assert!(line.contains("status 307"), "{line}");
        bot.terminate();
        assert_eq!(elsewhere.seen().calls.len(), 0);
    });
}

#[test]
fn what_people_write_is_not_logged_unless_serenity_is_asked_for() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let bot = Bot::start(&discord, &stats.address, &[("RUST_LOG", ""), ("FLASK_DEBUG", "True")]);
        discord.until_watching().await;
        let mut broken = message("what somebody wrote", false);
        broken["embeds"] = json!(null);
        discord.act(Act::Dispatch("MESSAGE_CREATE", broken));
        discord.act(Act::Send(json!({"op": "what somebody wrote"})));
        discord.write("!stats");
        discord.until_messages(1).await;
        let log = bot.terminate();
        assert!(!log.contains("somebody wrote") && !log.contains("serenity::"), "{log}");
    });
}
