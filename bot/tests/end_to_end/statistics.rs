//! Statistics of keylend, and of servers that are broken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keylend::audit::Audit;
use keylend::domain::{Policy, Token, TokenSecret, Tokens};
use keylend::http::{self, Frame, Hosts, Limits};
use keylend::pool::Pools;
use keylend::store::sqlite::SqliteStore;
use keylend::store::vault::Vault;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bot::{Bot, STATS_TOKEN};
use crate::discord::Discord;
use crate::stats_server::{Answer, StatsServer, flask};
use crate::{PATIENCE, run};

/// keylend itself, on an embedded store, with a token for all and one for the statistics.
struct Keylend {
    address: String,
    stop: CancellationToken,
    server: JoinHandle<()>,
    client: Client,
    _folder: TempDir,
}

/// May do all.
const ADMIN: &str = "kl_admin";

/// May see the statistics of one pool.
const OF_ONE_POOL: &str = "kl_one-pool";

impl Keylend {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("keylend.db"), PATIENCE, Vault::default()).await.unwrap();
        let pools = Pools::new(Arc::new(store), Policy::built_in().to_vec(), PATIENCE);
        pools.prepare().await.unwrap();
        let token = |name: &str, role: &str, secret: &str| {
            Token::parse(&format!("{name}:{role}:{}", TokenSecret::new(secret).digest())).unwrap()
        };
        let tokens = Tokens::new(vec![
            token("admin", "admin", ADMIN),
            token("stats", "stats", STATS_TOKEN),
            token("one-pool", "stats@stability", OF_ONE_POOL),
        ]);
        let (tokens, stop) = (watch::Sender::new(Arc::new(tokens)), CancellationToken::new());
        let limits = Limits::new(4096, 64, PATIENCE);
        let (hosts, stopping) = (Hosts::any(), stop.clone());
        let (audit, open_flask) = (Audit::default(), false);
        let frame = Frame { limits, tokens: tokens.subscribe(), open_flask, hosts, tls: None, audit, stopping };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            http::serve(listener, pools, frame).await;
            drop(tokens);
        });
        let client = Client::builder().no_proxy().build().unwrap();
        Self { address, stop, server, client, _folder: folder }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.address)).bearer_auth(ADMIN);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

#[test]
fn keylends_pools_are_shown_with_the_token_that_it_wants() {
    run(async {
        let keylend = Keylend::start().await;
        keylend
            .post("/v1/pools/plantid/keys", json!({"api_keys": ["sk-plant-0123456789", "sk-plant-9876543210"]}))
            .await;
        let keys: Vec<String> = (0..5).map(|number| format!("sk-stability-012345678{number}")).collect();
        keylend.post("/v1/pools/stability/keys", json!({"api_keys": keys})).await;
        let leases = [
            keylend.post("/v1/pools/stability/leases", json!({})).await,
            keylend.post("/v1/pools/stability/leases", json!({})).await,
        ];
        for (lease, outcome) in leases.iter().zip(["rejected", "rate_limited"]) {
            let path = format!("/v1/leases/{}/report", lease["lease_id"].as_str().unwrap());
            keylend.post(&path, json!({"outcome": outcome})).await;
        }
        let discord = Discord::start().await;
        let stats = format!("{}/api/stats", keylend.address);
        let bot = Bot::start(&discord, &stats, &[("STATS_TOKEN", STATS_TOKEN)]);
        discord.until_watched("🌱 2 Plant | ❤️ 0 Health").await;
        discord.write("!stats");
        let answer = discord.until_messages(1).await.remove(0);
        let fields = answer["embeds"][0]["fields"].clone();
        let expected = json!([
            {"name": "🌱 Plant ID Keys", "value": "Available: 2\nStatus: Keys available", "inline": true},
            {"name": "❤️ Health ID Keys", "value": "Available: 0\nStatus: File is empty", "inline": true},
            {"name": "🔄 Requests Until Rotation", "value": "Plant ID: 100\nHealth ID: 100", "inline": true},
            {
                "name": "🔑 stability",
                "value": "Usable: 3\nLeased: 0\nResting: 1\nSpent: 0\nDisabled: 1\nUses left: 16\n▰▰▰▰▰▰▰▰▰▰ 100%",
                "inline": true,
            },
        ]);
        assert_eq!(fields, expected);
        assert!(!answer.to_string().contains("sk-"), "{answer}");
        keylend.end().await;
        discord.until_watched("stats unavailable").await;
        bot.terminate();
    });
}

#[test]
fn a_token_that_keylend_does_not_take_is_told_of() {
    run(async {
        let keylend = Keylend::start().await;
        let stats = format!("{}/api/stats", keylend.address);
        for (settings, advice) in [
            (vec![], "set STATS_TOKEN"),
            (vec![("STATS_TOKEN", "kl_other")], "STATS_TOKEN"),
            (vec![("STATS_TOKEN", OF_ONE_POOL)], "role stats, for all pools"),
        ] {
            let discord = Discord::start().await;
            let mut bot = Bot::start(&discord, &stats, &settings);
            discord.until_watched("stats unavailable").await;
            let line = bot.until_logged("event=\"stats_lost\"");
            assert!(line.contains(advice), "{line}");
            bot.terminate();
        }
        keylend.end().await;
    });
}

/// Asks until the statistics are asked for, for the answer before is good for a second; and what is answered then.
async fn fresh_answer(discord: &Discord, stats: &StatsServer) -> Value {
    let (asked, deadline) = (stats.asked().len(), Instant::now() + PATIENCE);
    loop {
        let before = discord.seen().messages().len();
        discord.write("!stats");
        let said = discord.until_messages(before + 1).await.remove(before);
        if stats.asked().len() > asked {
            return said;
        }
        assert!(Instant::now() < deadline, "the statistics are not asked for");
        sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn of_broken_statistics_it_is_said_that_they_cannot_be_had() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let other = StatsServer::flask(7, 7).await;
        // The looks are left out: only who asks sees what is broken.
        let settings = [("REFRESH_INTERVAL", "3600"), ("STATS_TOKEN", STATS_TOKEN)];
        let bot = Bot::start(&discord, &stats.address, &settings);
        discord.until_watching().await;
        let text = |status, text: &str| Answer::Text(status, text.to_owned());
        let broken = [
            text(200, "<!DOCTYPE html><html><body>Sign in</body></html>"),
            text(200, ""),
            text(200, "{\"keys\": {\"plantid\":"),
            text(200, "[]"),
            text(200, "{}"),
            text(200, "{\"error\": \"Error retrieving statistics\"}"),
            text(404, &flask(1, 1).to_string()),
            text(500, ""),
            Answer::Redirect(other.address.clone()),
            Answer::Large(100 * 1024 * 1024),
        ];
        for answer in broken {
            stats.answer(answer.clone());
            let said = fresh_answer(&discord, &stats).await;
            assert_eq!(said["content"], "❌ Unable to fetch API statistics. Please try again later.", "{answer:?}");
            assert!(said.get("embeds").is_none(), "{answer:?}");
        }
        assert_eq!(other.asked().len(), 0, "a redirect would carry the token elsewhere");
        bot.terminate();
    });
}

/// That a bot with such statistics gives them up, and has others when there are some.
async fn are_given_up(answer: Answer) {
    let (discord, stats) = (Discord::start().await, StatsServer::start(answer).await);
    let mut bot = Bot::start(&discord, &stats.address, &[]);
    discord.until_watched("stats unavailable").await;
    let line = bot.until_logged("event=\"stats_lost\"");
    assert!(line.contains("within 10 s"), "{line}");
    stats.answer_json(&flask(3, 4));
    discord.until_watched("🌱 3 Plant | ❤️ 4 Health").await;
    bot.terminate();
}

#[test]
fn statistics_that_never_come_are_given_up() {
    run(are_given_up(Answer::Never));
}

#[test]
fn statistics_that_never_end_are_given_up() {
    run(are_given_up(Answer::Endless));
}

#[test]
fn many_who_ask_at_once_make_one_request() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let bot = Bot::start(&discord, &stats.address, &[("REFRESH_INTERVAL", "3600")]);
        discord.until_watching().await;
        stats.answer(Answer::Later(flask(3, 4)));
        // The answer before is good for a second; who asks then waits for the next.
        let deadline = Instant::now() + PATIENCE;
        let mut answered = 0;
        while stats.asked().len() < 2 {
            assert!(Instant::now() < deadline, "the statistics are not asked for");
            answered = discord.seen().messages().len();
            discord.write("!stats");
            let is_waiting = async {
                tokio::select! {
                    _ = discord.until_messages(answered + 1) => {}
                    () = stats.until_asked(2) => {}
                }
            };
            is_waiting.await;
        }
        for _ in 0..9 {
            discord.write("!stats");
        }
        stats.go_on();
        discord.until_messages(answered + 10).await;
        bot.terminate();
        assert_eq!(stats.asked().len(), 2);
    });
}

#[test]
fn a_presence_is_sent_only_when_it_differs() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let bot = Bot::start(&discord, &stats.address, &[]);
        discord.until_watching().await;
        stats.until_asked(7).await;
        stats.answer_json(&flask(2, 1));
        discord.until_watched("🌱 2 Plant | ❤️ 1 Health").await;
        bot.terminate();
        assert_eq!(discord.seen().watched().len(), 2);
    });
}
