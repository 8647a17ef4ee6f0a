//! How the bot is, for containers.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::bot::{Bot, output};
use crate::discord::{Act, Discord, TOKEN};
use crate::stats_server::{Answer, StatsServer};
use crate::{PATIENCE, run};

/// The address on which it tells how it is.
fn address(bot: &mut Bot) -> String {
    let line = bot.until_logged("event=\"listening\"");
    let port: String = line.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    format!("http://127.0.0.1:{port}")
}

async fn ask(client: &Client, address: &str) -> (u16, Value) {
    let answer = client.get(address).send().await.unwrap();
    let (status, body) = (answer.status().as_u16(), answer.bytes().await.unwrap());
    (status, serde_json::from_slice(&body).unwrap())
}

async fn until(client: &Client, address: &str, expected: (u16, Value)) {
    let asking = async { while ask(client, address).await != expected {} };
    if tokio::time::timeout(PATIENCE, asking).await.is_err() {
        panic!("{:?} is not {expected:?}", ask(client, address).await);
    }
}

#[test]
fn it_is_ready_while_it_is_connected() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        discord.manners(|manners| manners.is_open = false);
        let mut bot = Bot::start(&discord, &stats.address, &[("KEYLEND_BOT_LISTEN", "127.0.0.1:0")]);
        let address = address(&mut bot);
        let client = Client::builder().no_proxy().build().unwrap();
        let ready = format!("{address}/readyz");
        assert_eq!(ask(&client, &format!("{address}/livez")).await, (200, json!({"status": "up"})));
        let not_ready = json!({"status": "not ready", "discord": "not connected", "stats": "unknown"});
        assert_eq!(ask(&client, &ready).await, (503, not_ready));
        discord.manners(|manners| manners.is_open = true);
        let is_ready = |stats: &str| (200, json!({"status": "ready", "discord": "connected", "stats": stats}));
        until(&client, &ready, is_ready("ok")).await;
        stats.answer(Answer::Text(500, String::new()));
        until(&client, &ready, is_ready("away")).await;
        discord.manners(|manners| manners.is_open = false);
        discord.act(Act::Drop);
        let not_ready = json!({"status": "not ready", "discord": "not connected", "stats": "away"});
        until(&client, &ready, (503, not_ready)).await;
        assert_eq!(ask(&client, &format!("{address}/livez")).await.0, 200);
        assert_eq!(ask(&client, &format!("{address}/")).await.0, 404);
        assert_eq!(client.request(Method::POST, &ready).send().await.unwrap().status(), 405);
        bot.terminate();
    });
}

#[test]
fn an_address_in_use_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = output(&[("DISCORD_BOT_TOKEN", TOKEN), ("KEYLEND_BOT_LISTEN", &address)], &[], &[]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("is in use") && said.contains("KEYLEND_BOT_LISTEN"), "{said}");
}
