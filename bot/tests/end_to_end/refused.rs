//! What an operator has to set right: said in one clear line, with exit code 64.

use serde_json::json;

use crate::bot::Bot;
use crate::discord::{Discord, Reply};
use crate::run;
use crate::stats_server::StatsServer;

/// Starts a bot that Discord does not want, and answers what it said last.
async fn refused(prepare: impl FnOnce(&Discord)) -> (Option<i32>, String, usize) {
    let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
    prepare(&discord);
    let bot = Bot::start(&discord, &stats.address, &[]);
    let (status, log) = tokio::task::spawn_blocking(|| bot.ended()).await.unwrap();
    (status.code(), log.lines().last().unwrap().to_owned(), discord.seen().connections)
}

#[test]
fn a_token_that_discord_refuses_ends_the_bot() {
    run(async {
        let by_http = |discord: &Discord| {
            let refusal = Reply::Json(401, json!({"message": "401: Unauthorized", "code": 0}));
            discord.answer_always("/gateway", Some(refusal));
        };
        let (code, said, connections) = refused(by_http).await;
        assert_eq!((code, connections), (Some(64), 0), "{said}");
        assert!(said.starts_with("keylend-bot: DISCORD_BOT_TOKEN: Discord refused the token"), "{said}");
        let by_gateway = |discord: &Discord| discord.manners(|manners| manners.refuses = Some(4004));
        let (code, said, connections) = refused(by_gateway).await;
        assert_eq!((code, connections), (Some(64), 1), "{said}");
        assert!(said.starts_with("keylend-bot: DISCORD_BOT_TOKEN: Discord refused the token"), "{said}");
    });
}

#[test]
fn an_intent_that_is_not_switched_on_ends_the_bot_and_is_named() {
    run(async {
        for close in [4013, 4014] {
            let (code, said, _) = refused(|discord| discord.manners(|manners| manners.refuses = Some(close))).await;
            assert_eq!(code, Some(64), "{said}");
            assert!(said.starts_with("keylend-bot: intents: ") && said.contains("Message Content Intent"), "{said}");
            assert!(said.contains("Privileged Gateway Intents"), "{said}");
        }
    });
}
