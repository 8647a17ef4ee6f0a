//! SIGTERM ends the bot within 5 s, whatever it is doing. That it took no longer is looked at in `Bot::terminate`.

use serde_json::json;
use tokio::net::TcpListener;

use crate::bot::Bot;
use crate::discord::{Act, CHANNEL, Discord, Reply};
use crate::run;
use crate::stats_server::{Answer, StatsServer};

#[test]
fn before_discord_ever_answered() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        discord.answer_always("/gateway", Some(Reply::Never));
        let bot = Bot::start(&discord, &stats.address, &[]);
        discord.until("a request", |seen| (!seen.calls.is_empty()).then_some(())).await;
        bot.terminate();
    });
}

#[test]
fn while_discord_cannot_be_reached() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let base = format!("http://{closed}");
        let mut bot = Bot::start(&discord, &stats.address, &[("DISCORD_API_BASE", &base)]);
        let line = bot.until_logged("event=\"gateway_lost\"");
        assert!(line.contains("cannot be reached"), "{line}");
        bot.terminate();
    });
}

#[test]
fn while_serenity_asks_for_the_gateway() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        discord.answer_next("/gateway", [discord.gateway_reply()]);
        discord.answer_always("/gateway", Some(Reply::Never));
        let bot = Bot::start(&discord, &stats.address, &[]);
        discord.until("two requests", |seen| (seen.calls.len() == 2).then_some(())).await;
        bot.terminate();
    });
}

#[test]
fn while_the_gateway_never_was_there() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        discord.manners(|manners| manners.is_open = false);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        let line = bot.until_logged("event=\"gateway_lost\"");
        assert!(line.contains("no connection to Discord comes about"), "{line}");
        bot.terminate();
    });
}

#[test]
fn while_the_gateway_says_nothing() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        discord.manners(|manners| manners.says_hello = false);
        let bot = Bot::start(&discord, &stats.address, &[]);
        discord.until("a connection", |seen| (seen.connections > 0).then_some(())).await;
        bot.terminate();
    });
}

#[test]
fn while_the_gateway_speaks_no_tls() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let Reply::Json(_, usual) = discord.gateway_reply() else { unreachable!() };
        let secure = usual["url"].as_str().unwrap().replace("ws:", "wss:");
        discord.answer_always("/gateway", Some(Reply::Json(200, json!({"url": secure}))));
        let bot = Bot::start(&discord, &stats.address, &[]);
        discord.until("a second try", |seen| (seen.connections > 1).then_some(())).await;
        let log = bot.terminate();
        assert!(!log.contains("panicked"), "{log}");
    });
}

#[test]
fn while_it_is_connected_and_the_gateway_hears_goodbye() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        let log = bot.terminate();
        assert!(log.contains("event=\"stopping\"") && log.contains("event=\"stopped\""), "{log}");
        discord.until("goodbye", |seen| (seen.goodbyes == 1).then_some(())).await;
    });
}

#[test]
fn while_the_gateway_is_gone() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        discord.manners(|manners| manners.is_open = false);
        discord.act(Act::Drop);
        bot.until_logged("event=\"gateway_lost\"");
        bot.terminate();
    });
}

#[test]
fn while_it_waits_for_a_rate_limit_and_for_statistics() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(0, 1).await);
        let limited = json!({"message": "You are being rate limited.", "retry_after": 50.0, "global": false});
        discord.answer_always("/messages", Some(Reply::Json(429, limited)));
        let folder = tempfile::tempdir().unwrap();
        let settings = [("ALERT_CHANNEL_ID", CHANNEL)];
        let mut bot = Bot::start_in(&folder, &discord, &stats.address, &settings);
        bot.until_logged("event=\"rate_limited\"");
        discord.until_watching().await;
        stats.answer(Answer::Never);
        let asked = stats.asked().len();
        // The look waits with its alert. Who asks gets the last answer first, for it is good for a second.
        while stats.asked().len() == asked {
            discord.write("!stats");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        bot.terminate();
    });
}
