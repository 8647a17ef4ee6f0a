//! Discord's rate limits, where the bot obeys them itself.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bot::Bot;
use crate::discord::{Discord, Reply};
use crate::run;
use crate::stats_server::StatsServer;

fn limited(seconds: f64) -> Reply {
    Reply::Json(429, json!({"message": "You are being rate limited.", "retry_after": seconds, "global": false}))
}

#[test]
fn the_bot_waits_when_it_is_told_to_and_its_answer_comes() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        discord.answer_next("/messages", [limited(0.7), limited(0.2), limited(0.1)]);
        let asked = Instant::now();
        discord.write("!stats");
        discord.until_messages(4).await;
        assert!(asked.elapsed() >= Duration::from_secs(1), "it did not wait");
        let line = bot.until_logged_times("event=\"rate_limited\"", 3);
        assert!(line.contains("seconds=0.1"), "{line}");
        let log = bot.terminate();
        assert!(!log.contains("not_answered"), "{log}");
    });
}

#[test]
fn the_bot_tries_three_times_more_and_then_gives_up() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        discord.answer_always("/messages", Some(limited(0.01)));
        discord.write("!stats");
        let line = bot.until_logged("event=\"not_answered\"");
        assert!(line.contains("rate limit"), "{line}");
        assert_eq!(discord.seen().messages().len(), 4);
        // A wait that nobody would wait for is not begun.
        discord.answer_always("/messages", Some(limited(3600.0)));
        discord.write("!stats");
        bot.until_logged_times("event=\"not_answered\"", 2);
        assert_eq!(discord.seen().messages().len(), 5);
        discord.answer_always("/messages", None);
        discord.write("!stats");
        discord.until_messages(6).await;
        bot.terminate();
    });
}

#[test]
fn the_start_waits_too() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        discord.answer_next("/gateway", [limited(0.1), limited(0.1)]);
        discord.answer_next("/commands", [limited(0.1)]);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        bot.until_logged("commands_set");
        bot.until_logged_times("event=\"rate_limited\"", 3);
        bot.terminate();
    });
}
