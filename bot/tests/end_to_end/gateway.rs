//! The connection: cut off, refused, gone and back.

use serde_json::json;

use crate::bot::Bot;
use crate::discord::{Act, Discord, Reply, Seen};
use crate::run;
use crate::stats_server::{StatsServer, flask};

/// The number of the connection on which something was last resumed.
fn resumed(seen: &Seen) -> Option<usize> {
    Some(seen.frames_of(6).last()?.connection)
}

/// Starts a bot that is seen to watch something.
async fn connected(settings: &[(&str, &str)]) -> (Discord, StatsServer, Bot) {
    let (discord, stats) = (Discord::start().await, StatsServer::flask(12, 5).await);
    let bot = Bot::start(&discord, &stats.address, settings);
    discord.until_watched("🌱 12 Plant | ❤️ 5 Health").await;
    (discord, stats, bot)
}

#[test]
fn a_connection_that_is_cut_off_is_resumed_and_the_bot_goes_on() {
    run(async {
        let (discord, stats, mut bot) = connected(&[]).await;
        let cuts = [Act::Send(json!({"op": 7, "d": null})), Act::Drop, Act::Close(4000), Act::Close(1000)];
        for (number, cut) in (2..).zip(cuts) {
            discord.act(cut);
            let connection = discord.until("resume", |seen| resumed(seen).filter(|at| *at == number)).await;
            let seen = discord.seen();
            let resume = seen.frames_of(6).last().unwrap().data.clone();
            assert_eq!(resume["session_id"], "session-1", "{connection}");
            bot.until_logged_times("event=\"gateway_resumed\"", number - 1);
            // The session is the old one, so what is watched still stands.
            discord.write("!stats");
            discord.until_messages(number - 1).await;
        }
        stats.answer_json(&flask(3, 4));
        discord.until_watched("🌱 3 Plant | ❤️ 4 Health").await;
        assert_eq!(discord.seen().frames_of(2).len(), 1, "it never had to say anew who it is");
        bot.terminate();
    });
}

/// That after such an end of the session a new one begins, in which the presence goes on.
async fn goes_on_after(end: Act) {
    let (discord, stats, mut bot) = connected(&[]).await;
    discord.act(end);
    let connection = |seen: &Seen| seen.frames_of(2).get(1).map(|identify| identify.connection);
    let connection = discord.until("a new session", connection).await;
    // It is shown anew, though it is the same.
    let is_shown = |seen: &Seen| seen.watched().iter().any(|(on, _)| *on == connection).then_some(());
    discord.until("a presence in the new session", is_shown).await;
    stats.answer_json(&flask(3, 4));
    discord.until_watched("🌱 3 Plant | ❤️ 4 Health").await;
    bot.until_logged("event=\"gateway_renewed\"");
    bot.terminate();
    let seen = discord.seen();
    assert_eq!(seen.watched().last().unwrap().0, connection);
    assert_eq!(seen.calls_of("PUT", "/commands").len(), 1, "commands are set once");
}

#[test]
fn after_an_invalid_session_the_presence_goes_on_in_a_new_one() {
    run(goes_on_after(Act::Send(json!({"op": 9, "d": false}))));
}

#[test]
fn after_a_session_that_timed_out_the_presence_goes_on_in_a_new_one() {
    run(goes_on_after(Act::Close(4009)));
}

#[test]
fn a_connection_without_an_answer_to_heartbeats_is_made_anew() {
    run(async {
        let (discord, _stats, mut bot) = connected(&[]).await;
        discord.manners(|manners| manners.acknowledges = false);
        discord.until("a second session", |seen| seen.frames_of(2).get(1).map(|_| ())).await;
        discord.manners(|manners| manners.acknowledges = true);
        bot.until_logged("event=\"gateway_renewed\"");
        discord.write("!stats");
        discord.until_messages(1).await;
        bot.terminate();
    });
}

#[test]
fn a_gateway_that_is_gone_is_told_of_once_and_comes_back_by_itself() {
    run(async {
        let (discord, stats, mut bot) = connected(&[]).await;
        discord.manners(|manners| manners.is_open = false);
        discord.act(Act::Drop);
        bot.until_logged("event=\"gateway_lost\"");
        let tries = discord.seen().connections;
        discord.until("more tries", |seen| (seen.connections >= tries + 2).then_some(())).await;
        stats.answer_json(&flask(3, 4));
        discord.manners(|manners| manners.is_open = true);
        bot.until_logged("event=\"gateway_back\"");
        discord.until_watched("🌱 3 Plant | ❤️ 4 Health").await;
        let log = bot.terminate();
        for event in ["gateway_lost", "gateway_back"] {
            assert_eq!(log.matches(&format!("event=\"{event}\"")).count(), 1, "{log}");
        }
    });
}

#[test]
fn the_gateway_is_asked_for_until_it_is_told() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(12, 5).await);
        let failed = Reply::Json(500, json!({"message": "500: Internal Server Error", "code": 0}));
        let elsewhere = Reply::Json(200, json!({"url": "http://127.0.0.1:9"}));
        let nothing = Reply::Json(200, json!([]));
        discord.answer_next("/gateway", [failed.clone(), failed, elsewhere, nothing]);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        let line = bot.until_logged("event=\"gateway_lost\"");
        assert!(line.contains("status 500"), "{line}");
        discord.until_watching().await;
        let log = bot.terminate();
        assert_eq!(log.matches("event=\"gateway_lost\"").count(), 2, "each reason once: {log}");
    });
}

#[test]
fn it_goes_to_the_gateway_that_it_was_told_of_and_to_no_other() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(12, 5).await);
        // The first answer is the usual one; when serenity asks again, Discord fails.
        let usual = discord.gateway_reply();
        let failed = Reply::Json(500, json!({"message": "500: Internal Server Error", "code": 0}));
        discord.answer_next("/gateway", [usual]);
        discord.answer_always("/gateway", Some(failed));
        let bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        bot.terminate();
        assert_eq!(discord.seen().calls_of("GET", "/gateway").len(), 2, "serenity, too, asks nobody else");
    });
}

/// That the bot comes back from a gateway that accepted a connection and then never said a word.
async fn comes_back_from_silence(discord: &Discord, bot: &mut Bot, before: usize) {
    discord.until("a connection", |seen| (seen.connections > before).then_some(())).await;
    bot.until_logged("event=\"gateway_lost\"");
    discord.manners(|manners| manners.shakes_hands = true);
    discord.until("another connection", |seen| (seen.connections > before + 1).then_some(())).await;
}

#[test]
fn a_gateway_that_says_nothing_at_the_first_try_is_tried_again() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(12, 5).await);
        discord.manners(|manners| manners.shakes_hands = false);
        let mut bot = Bot::start(&discord, &stats.address, &[]);
        comes_back_from_silence(&discord, &mut bot, 0).await;
        discord.until_watched("🌱 12 Plant | ❤️ 5 Health").await;
        bot.terminate();
    });
}

#[test]
fn a_gateway_that_says_nothing_when_it_was_lost_is_tried_again() {
    run(async {
        let (discord, stats, mut bot) = connected(&[]).await;
        discord.manners(|manners| manners.shakes_hands = false);
        discord.act(Act::Drop);
        comes_back_from_silence(&discord, &mut bot, 1).await;
        stats.answer_json(&flask(3, 4));
        discord.until_watched("🌱 3 Plant | ❤️ 4 Health").await;
        bot.terminate();
    });
}
