//! Keys are made by a command, or asked for from people; a pool that runs low asks by itself.

use std::os::unix::fs::PermissionsExt;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::place::Place;
use crate::program::Program;
use crate::verify::{Desk, until};

on_both_stores!(
    a_command_makes_a_key_that_is_verified_and_added,
    a_command_that_makes_no_key_is_told_and_adds_nothing,
    without_a_command_a_person_is_asked_and_closes_the_request,
    every_command_of_the_old_script_has_its_successor,
    a_pool_that_runs_low_asks_once_over_all_instances,
    a_pool_that_runs_low_has_keys_made_until_there_are_enough,
);

impl Desk {
    /// The pool `made`, whose keys this script makes.
    fn with_script(place: &Place, script: &str, more: &str) -> Self {
        let desk = Self::new(place, "");
        let path = desk.folder.path().join("make-key");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let toml = desk.folder.path().join("keylend.toml");
        let verify = desk.provider.verify("made", "");
        let text = format!(
            "[pools.made]\nuses_per_key = 4\n{more}\n{verify}[pools.made.generate]\ncommand = [{:?}, \"a b\"]\ntimeout_seconds = 5\n",
            path.to_str().unwrap()
        );
        std::fs::write(toml, text).unwrap();
        desk
    }
}

/// Whether the process whose id a script wrote down is there; a zombie is not.
fn is_there(desk: &Desk) -> bool {
    let Ok(id) = std::fs::read_to_string(desk.folder.path().join("left")) else { return false };
    let status = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

async fn generate(server: &Program, pool: &str) -> (StatusCode, Value) {
    let answer = Client::new().post(format!("{}/v1/pools/{pool}/generate", server.url)).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn a_command_makes_a_key_that_is_verified_and_added(place: Place) {
    let script = "echo \"for $KEYLEND_POOL: $1, ${KEYLEND_DATA-none}${MONGODB_URI-none}\" >&2
                  echo sk-alive-made-0123456789 >&2
                  n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count
                  if [ $n = 1 ]; then echo sk-rejected-made-0123456789; else echo sk-alive-made-0123456789; fi";
    let desk = Desk::with_script(&place, script, "");
    let mut server = desk.serve();
    let (status, made) = generate(&server, "made").await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let shown = json!([made["pool"], made["outcome"], made["verdict"], made["credits"], made["state"]]);
    assert_eq!(shown, json!(["made", "added", "alive", 24.5, "usable"]));
    assert_eq!(desk.key("made", "sk-alive-made-0123456789")["id"], made["id"]);
    // What it complains of is in the log, and the key is not.
    let said = server.wait_for(|log| log.lines().find(|line| line.contains("for made")).map(str::to_owned));
    assert!(said.contains("for made: a b, nonenone") && said.contains("command_said"), "{said}");
    // One that its provider does not take yet is kept, and not lent.
    let (out, err, code) = desk.run(&["keys", "generate", "made"], "");
    assert!(code == Some(1) && out.contains("rejected, disabled"), "{out} {err}");
    assert_eq!(desk.key("made", "sk-rejected-made-0123456789")["disabled_reason"], "rejected");
    // A known one is none.
    let (status, problem) = generate(&server, "made").await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_GATEWAY, &json!("generation_failed")));
    assert!(problem["detail"].as_str().unwrap().contains("has already"), "{problem}");
    let (_, log) = server.terminate();
    for event in ["key_generated", "command_said"] {
        assert!(log.contains(&format!("event=\"{event}\"")), "{event}: {log}");
    }
    assert!(!log.contains("0123456789") && !out.contains("0123456789") && !err.contains("0123456789"), "{log}");
}

async fn a_command_that_makes_no_key_is_told_and_adds_nothing(place: Place) {
    for (script, expected) in [
        ("exit 3", "the command failed (exit status: 3)"),
        ("", "printed nothing"),
        ("echo sk-alive-1; echo sk-alive-2", "more than one key"),
        ("echo not a key", "is no key"),
        ("echo '<html>sk-alive-0123456789 x</html>'", "is no key"),
        ("yes sk-alive-0123456789", "more than 65536 bytes"),
        ("sleep 60 & echo $! > left; sleep 60", "not done within 5 s"),
        ("kill -9 $$", "the command failed (signal: 9"),
    ] {
        let desk = Desk::with_script(&place, script, "");
        let (out, err, code) = desk.run(&["keys", "generate", "made"], "");
        assert!(code == Some(2) && err.contains(expected), "{script}: {out} {err}");
        assert_eq!(desk.json(1, &["keys", "list", "--pool", "made"], "").len(), 0, "{script}");
        assert!(!is_there(&desk), "what the command started goes on");
    }
    let desk = Desk::with_script(&place, "sleep 60 & echo $! > left; echo sk-alive-0123456789", "");
    let (out, err, code) = desk.run(&["keys", "generate", "made"], "");
    assert_eq!(code, Some(0), "{out} {err}");
    assert!(!is_there(&desk), "what the command left behind goes on");
    let desk = Desk::with_script(&place, "", "");
    std::fs::remove_file(desk.folder.path().join("make-key")).unwrap();
    let (_, err, code) = desk.run(&["keys", "generate", "made"], "");
    assert!(code == Some(2) && err.contains("cannot be started"), "{err}");
}

#[test]
fn a_server_that_stops_ends_the_command() {
    crate::run(async {
        let place = Place::sqlite();
        let desk = Desk::with_script(&place, "echo $$ > left; sleep 60", "");
        let file = desk.folder.path().join("keylend.toml");
        let longer = std::fs::read_to_string(&file).unwrap().replace("timeout_seconds = 5", "timeout_seconds = 50");
        std::fs::write(&file, longer).unwrap();
        let server = desk.serve();
        let path = format!("{}/v1/pools/made/generate", server.url);
        let asked = tokio::spawn(async move { Client::new().post(path).send().await });
        until(|| is_there(&desk));
        let (status, log) = server.terminate();
        assert!(status.success(), "{log}");
        assert!(!is_there(&desk), "the command goes on");
        asked.abort();
    });
}

async fn without_a_command_a_person_is_asked_and_closes_the_request(place: Place) {
    let desk = Desk::new(&place, "");
    let server = desk.serve();
    let (status, asked) = generate(&server, "stability").await;
    assert_eq!((status, &asked["outcome"], &asked["key_requests"]), (StatusCode::ACCEPTED, &json!("asked"), &json!(1)));
    let again = desk.json(0, &["keys", "generate"], "").remove(0);
    assert_eq!((&again["outcome"], &again["key_requests"]), (&json!("asked"), &json!(2)));
    let open = desk.json(0, &["keys", "requests"], "");
    let shown: Vec<_> = open.iter().map(|request| (&request["pool"], &request["request_id"], &request["by"])).collect();
    let pool = json!("stability");
    let (nobody, command_line) = (json!(""), json!("the command line"));
    assert_eq!(shown, [(&pool, &asked["request_id"], &nobody), (&pool, &again["request_id"], &command_line)]);
    let stats = async |expected: u64| {
        let stats: Value = reqwest::get(format!("{}/v1/stats", server.url)).await.unwrap().json().await.unwrap();
        stats["pools"][0]["key_requests"] == expected
    };
    assert!(stats(2).await);
    // One that the provider does not take closes none, a good one closes the oldest.
    let (_, _, code) = desk.run(&["keys", "add", "--verify", "-"], "sk-rejected-0123456789");
    assert_eq!((code, desk.json(0, &["keys", "requests"], "").len()), (Some(1), 2));
    let (out, _, _) = desk.run(&["keys", "add", "--verify", "-"], "sk-alive-0123456789");
    assert_eq!(out.trim(), "1 added, 0 known, 0 invalid, 1 request closed");
    assert_eq!(desk.json(0, &["keys", "requests", "stability"], "")[0]["request_id"], again["request_id"]);
    let id = again["request_id"].as_str().unwrap();
    assert_eq!(desk.run(&["keys", "requests", "stability", "--close", id], "").0.trim(), "1 closed");
    assert_eq!(desk.run(&["keys", "requests", "stability", "--close", id], "").2, Some(1));
    while !stats(0).await {}
    // What is said can be typed: this pool can ask its provider, that one cannot.
    for (pool, hand_in) in [("stability", "add --pool stability --verify -"), ("plantid", "add --pool plantid -")] {
        let (_, err, _) = desk.run(&["keys", "generate", pool], "");
        assert!(err.contains(hand_in), "{err}");
    }
}

/// `test_stability_api_key.py --list`, `--find --max-uses=3`, `--generate`, `--update`, `--all`.
async fn every_command_of_the_old_script_has_its_successor(place: Place) {
    let desk = Desk::new(&place, "");
    desk.add("stability", "sk-alive-1-0123456789\nsk-rejected-2-0123456789");
    let (listed, _, code) = desk.run(&["keys", "list", "--credits"], "");
    assert!(code == Some(0) && listed.contains("sk-al...6789") && listed.contains("25"), "{listed}");
    let (found, _, code) = desk.run(&["keys", "find", "--max-uses=3"], "");
    assert!(code == Some(0) && found.contains("sk-al...6789"), "{found}");
    let (updated, _, code) = desk.run(&["keys", "verify", "--all"], "");
    assert!(
        code == Some(0) && updated.contains("24.5") && updated.contains("rejected  -        disabled"),
        "{updated}"
    );
    let (generated, _, code) = desk.run(&["keys", "generate"], "");
    assert!(code == Some(0) && generated.contains("was asked for"), "{generated}");
    assert_eq!(desk.run(&["keys", "add", "--verify", "-"], "sk-alive-3-0123456789").2, Some(0));
    assert_eq!(desk.json(0, &["keys", "requests"], "").len(), 0);
}

async fn a_pool_that_runs_low_asks_once_over_all_instances(place: Place) {
    let desk = Desk::new(&place, "[pools.stability]\nlow_water = 2");
    desk.add("stability", "sk-alive-1-0123456789\nsk-alive-2-0123456789");
    let servers = [desk.serve(), desk.serve(), desk.serve()];
    desk.run(&["keys", "disable", "--secret", "-"], "sk-alive-1-0123456789");
    let requests = || desk.json(0, &["keys", "requests"], "");
    until(|| !requests().is_empty());
    // Each instance has looked since.
    let mut looks = 0;
    until(|| {
        looks += 1;
        let open = requests();
        assert_eq!((open.len(), &open[0]["request_id"]), (1, &json!("low_water")));
        looks == 200
    });
    // Answered by one key, it has enough again.
    desk.run(&["keys", "add", "--verify", "-"], "sk-alive-3-0123456789");
    assert_eq!(requests().len(), 0);
    let told: usize = servers.iter().map(|server| server.log().matches("key_requested").count()).sum();
    assert_eq!(told, 1);
}

async fn a_pool_that_runs_low_has_keys_made_until_there_are_enough(place: Place) {
    let script = "n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count; echo sk-alive-$n-0123456789";
    let desk = Desk::with_script(&place, script, "low_water = 2");
    let servers = [desk.serve(), desk.serve()];
    let keys = || desk.run(&["keys", "list", "--pool", "made", "--state", "usable", "--json"], "").0.lines().count();
    until(|| keys() >= 2);
    assert_eq!(keys(), 2);
    assert_eq!(std::fs::read_to_string(desk.folder.path().join("count")).unwrap().trim(), "2");
    drop(servers);
}
