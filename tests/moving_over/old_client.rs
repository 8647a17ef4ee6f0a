//! The older server's clients and its bot, which notice nothing: 1,000 requests through a restart, a kill and another
//! key file, every hand-out accounted for.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use keylend::domain::{Picks, Policy, Secret, UsageCount};
use keylend::store::Page;
use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::old_folder::{OldFolder, get};
use crate::place::Place;
use crate::program::{PATIENCE, Program};

on_both_stores!(nobody_notices_and_every_hand_out_is_accounted_for,);

const CLIENTS: u32 = 8;

/// Requests in all, and after how many of them something happens.
const REQUESTS: u32 = 1000;
const RESTART_AFTER: u32 = 250;
const KILL_AFTER: u32 = 450;
const OTHER_FILE_AFTER: u32 = 650;

/// Each client's request of this number is for a Health ID key, the others are for Plant ID keys.
const HEALTH_EVERY: u32 = 5;

/// What the older server had given of its first Plant ID key.
const GIVEN: u64 = 37;

/// What the clients share.
#[derive(Default)]
struct Progress {
    answered: AtomicU32,
    /// Requests that may have been counted, and whose answer never came.
    unanswered: AtomicU32,
    /// The key whose line went can be given out no more.
    gone: AtomicBool,
}

fn name(pool: &str, number: u32) -> String {
    format!("{pool}-{number:02}-0123456789")
}

fn lines(pool: &str, numbers: impl IntoIterator<Item = u32>) -> String {
    numbers.into_iter().map(|number| name(pool, number) + "\n").collect()
}

/// A plain GET, on a connection of its own, as the older clients do it.
fn plain_client() -> Client {
    Client::builder().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap()
}

/// One of the older clients: asks until it has its share, and tries again where nobody answers.
async fn old_client(url: String, progress: Arc<Progress>, withdrawn: Arc<std::sync::OnceLock<String>>) -> Vec<String> {
    let client = plain_client();
    let deadline = Instant::now() + PATIENCE;
    let mut got = Vec::new();
    for number in 0..REQUESTS / CLIENTS {
        let pool = if number % HEALTH_EVERY == 0 { "healthid" } else { "plantid" };
        loop {
            assert!(Instant::now() < deadline, "{} answers after {PATIENCE:?}", got.len());
            let is_gone = progress.gone.load(Ordering::SeqCst);
            match ask(&client, &format!("{url}/api/{pool}")).await {
                Ok(Some(key)) => {
                    assert!(key.starts_with(&pool[..5]), "{key} of {pool}");
                    assert!(!is_gone || Some(&key) != withdrawn.get(), "{key} is given out after its line went");
                    got.push(key);
                    progress.answered.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Err(error) if !error.is_connect() => {
                    progress.unanswered.fetch_add(1, Ordering::SeqCst);
                }
                Ok(None) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    got
}

/// Asks for a key; None = the server starts, and has no store yet.
async fn ask(client: &Client, url: &str) -> Result<Option<String>, reqwest::Error> {
    let answer = client.get(url).send().await?;
    assert_eq!(answer.status(), 200);
    let mut answer: BTreeMap<String, String> = answer.json().await?;
    if answer.get("error").is_some_and(|error| error == "Internal server error") {
        return Ok(None);
    }
    let key = answer.remove("Key").unwrap();
    assert!(answer.is_empty(), "{:?}", answer.keys());
    Ok(Some(key))
}

/// The older bot: reads the statistics again and again, whatever they say is of the older shape.
async fn old_bot(url: String) {
    let client = plain_client();
    loop {
        if let Ok(answer) = client.get(format!("{url}/api/stats")).send().await
            && let Ok(stats) = answer.json::<Value>().await
            && stats["error"] != "Error retrieving statistics"
        {
            for pool in ["plantid", "healthid"] {
                let left = stats["requests"][pool]["requests_until_rotation"].as_u64().unwrap_or_default();
                assert!((1..=100).contains(&left), "{stats}");
                let available = stats["keys"][pool]["keys_available"].as_u64().unwrap();
                assert_eq!(stats["keys"][pool]["status"] == "Keys available", available > 0, "{stats}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The keys of a pool as they are stored: secret, uses, whether it is active; in the pool's order.
async fn stored(place: &Place, pool: &str) -> Vec<(String, u64, bool)> {
    let policy = Policy::new(pool.parse().unwrap(), Picks::InOrder, 100);
    let store = place.store().await;
    let listed = store.list(&policy, Page { after: None, limit: 1000, state: None }).await.unwrap().value;
    let key = |record: keylend::domain::KeyRecord| {
        let UsageCount::Whole(count) = record.key.usage_count else { panic!("{:?}", record.key.usage_count) };
        (record.key.secret.as_ref().map(Secret::expose).unwrap().to_owned(), count, record.key.is_active)
    };
    listed.into_iter().map(key).collect()
}

async fn nobody_notices_and_every_hand_out_is_accounted_for(place: Place) {
    let folder = OldFolder::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    folder.write(".env", &format!("LOG_FILE=api_server.log\nFLASK_RUN_PORT={port}\n"));
    folder.write("plantid.txt", &lines("plantid", 1..=8));
    folder.write("healthid.txt", &lines("healthid", 1..=3));
    folder.write("api_state.json", &format!(r#"{{"plantid": {GIVEN}, "healthid": 0}}"#));
    let start = || {
        // The log of an earlier run tells of an earlier start.
        let _ = std::fs::remove_file(folder.path("api_server.log"));
        Program::serve_as_it_is(folder.keylend(&place, &[]), &folder.path("api_server.log"))
    };
    let mut program = start();
    let url = program.url.clone();
    let (progress, withdrawn) = (Arc::new(Progress::default()), Arc::new(std::sync::OnceLock::new()));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(old_client(url.clone(), Arc::clone(&progress), Arc::clone(&withdrawn)));
    }
    let bot = tokio::spawn(old_bot(url.clone()));
    let answered = async |at_least| {
        until("the next thing happens", async || progress.answered.load(Ordering::SeqCst) >= at_least).await;
    };

    answered(RESTART_AFTER).await;
    assert!(program.terminate().0.success());
    // Who was not accepted yet is cut off, and what was given out was answered.
    let mut counted = 0;
    for pool in ["plantid", "healthid"] {
        counted += stored(&place, pool).await.iter().map(|(_, count, _)| count).sum::<u64>();
    }
    let all_answered = async || u64::from(progress.answered.load(Ordering::SeqCst)) + GIVEN == counted;
    until("all that was counted was answered", all_answered).await;
    program = start();
    answered(KILL_AFTER).await;
    let before_kill = progress.unanswered.load(Ordering::SeqCst);
    program.signal("KILL");
    program.ended();
    program = start();
    answered(OTHER_FILE_AFTER).await;
    let in_use = stored(&place, "plantid").await.into_iter().position(|(_, count, _)| count < 100).unwrap() as u32 + 1;
    withdrawn.set(name("plantid", in_use)).unwrap();
    folder.write("plantid.txt", &lines("plantid", (1..=12).filter(|number| *number != in_use)));
    let disabled = async || get(&format!("{url}/api/stats")).await["pools"][1]["keys"]["disabled"] == 1;
    until("the key without a line is withdrawn", disabled).await;
    progress.gone.store(true, Ordering::SeqCst);

    let mut given: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(got) = clients.join_next().await {
        let got = got.unwrap();
        let plants: Vec<&String> = got.iter().filter(|key| key.starts_with("plant")).collect();
        assert!(plants.is_sorted(), "the order of the file: {plants:?}");
        for key in got {
            *given.entry(key).or_default() += 1;
        }
    }
    assert_eq!(given.values().sum::<u64>(), u64::from(REQUESTS));
    let (mut lost, unanswered) = (0, u64::from(progress.unanswered.load(Ordering::SeqCst) - before_kill));
    for pool in ["plantid", "healthid"] {
        let keys = stored(&place, pool).await;
        let spent_before = |place: usize| keys[..place].iter().all(|(_, count, active)| *count == 100 || !active);
        for (place, (key, count, active)) in keys.iter().enumerate() {
            let before = if pool == "plantid" && place == 0 { GIVEN } else { 0 };
            let given = given.get(key).copied().unwrap_or_default();
            assert!(before + given <= *count && *count <= 100, "{key}: {before} + {given} of {count}");
            lost += count - before - given;
            assert!(*count == 0 || spent_before(place), "{key} was begun before those in front of it were spent");
            assert_eq!(*active, Some(key) != withdrawn.get(), "{key}");
        }
        let usable = keys.iter().filter(|(_, count, active)| *active && *count < 100);
        let next = usable.clone().next().map_or(100, |(_, count, _)| 100 - count);
        let shown = (Value::from(usable.count()), Value::from(next));
        let is_shown = async || {
            let stats = get(&format!("{url}/api/stats")).await;
            let (keys, requests) = (&stats["keys"][pool], &stats["requests"][pool]);
            (&keys["keys_available"], &requests["requests_until_rotation"]) == (&shown.0, &shown.1)
        };
        until(&format!("{shown:?} of {pool} are shown"), is_shown).await;
    }
    // What was counted and not answered was under way when the server was killed.
    assert!(lost <= unanswered && lost <= u64::from(CLIENTS), "{lost} of {unanswered}");
    bot.abort();
    assert!(bot.await.unwrap_err().is_cancelled(), "the bot read nothing that it does not understand");
    assert!(program.terminate().0.success());
}
