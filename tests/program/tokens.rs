//! `keylend token new`: what it shows is what the settings take, and its curl works.

use std::process::Command;

use keylend::domain::TokenSecret;
use reqwest::Client;
use serde_json::Value;

use crate::program::{Program, keylend, output};

fn new(settings: &[(&str, String)], arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let done = output(keylend(&folder, settings, &[&["token", "new"], arguments, &["--json"]].concat()), "");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn the_entry_the_section_and_the_curl_of_a_new_token_work() {
    for (role, bound) in [("service", &["--pool", "plantid"][..]), ("stats", &[]), ("admin", &[])] {
        let folder = tempfile::tempdir().unwrap();
        let token = new(&[], &[&["web", "--role", role], bound].concat());
        let text = |part: &str| token[part].as_str().unwrap().to_owned();
        // The one is in the environment, the other in the file: each is taken, and shown as the same entry.
        let again = [("KEYLEND_TOKENS", text("entry"))];
        let taken = output(keylend(&folder, &again, &["token", "new", "web", "--role", role]), "");
        assert_eq!(taken.status.code(), Some(64), "there is a token of this name: {taken:?}");
        std::fs::write(folder.path().join("keylend.toml"), text("toml")).unwrap();
        assert!(!text("entry").contains(&text("token")) && !text("toml").contains(&text("token")));

        let keys = output(keylend(&folder, &[], &["keys", "add", "--pool", "plantid"]), "sk-0123456789abcdef");
        assert!(keys.status.success(), "{keys:?}");
        let program = Program::serve(keylend(&folder, &[], &[]));
        assert!(program.log().contains("tokens=\"1 token\""), "{}", program.log());
        // The address of the settings is a free port's here.
        let curl = text("curl").replace("http://127.0.0.1:5000", &program.url);
        assert!(curl.starts_with("curl 'http://127.0.0.1:"), "{curl}");
        let asked = Command::new("sh").arg("-c").arg(format!("{curl} -sSf")).output().unwrap();
        assert!(asked.status.success(), "{role}: {asked:?}");
        assert!(serde_json::from_slice::<Value>(&asked.stdout).is_ok(), "{asked:?}");
        program.terminate();
    }
}

#[test]
fn the_curl_goes_to_the_address_of_the_settings() {
    let settings = [("KEYLEND_LISTEN", "0.0.0.0:6001".to_owned())];
    let curl = new(&settings, &["web", "--role", "stats"])["curl"].as_str().unwrap().to_owned();
    assert!(curl.starts_with("curl 'http://127.0.0.1:6001/v1/stats'"), "{curl}");
}

#[test]
fn tokens_are_made_at_random_for_pools_that_are_there() {
    let tokens = [new(&[], &["a", "--role", "service"]), new(&[], &["a", "--role", "service"])];
    assert_ne!(tokens[0]["token"], tokens[1]["token"]);
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["a", "--role", "stats", "--pool", "nothing"][..], "there are: stability, plantid, healthid"),
        (&["a b", "--role", "stats"], "a token's name is"),
    ] {
        let done = output(keylend(&folder, &[], &[&["token", "new"], arguments].concat()), "");
        assert_eq!(done.status.code(), Some(64));
        assert!(String::from_utf8(done.stderr).unwrap().contains(expected), "{expected}");
    }
    let shown = output(keylend(&folder, &[], &["token", "new", "a", "--role", "service", "--role", "stats"]), "");
    let shown = String::from_utf8(shown.stdout).unwrap();
    for part in ["klt_", "a:service+stats:", "[[tokens]]", "curl '"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!folder.path().join("keylend.db").exists(), "no store is needed");
}

#[test]
fn there_are_completions_for_shells_whatever_the_settings_are() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keylend.toml"), "nonsense").unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = output(keylend(&folder, &[], &["completions", shell]), "");
        let script = String::from_utf8(done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(0), "{shell}");
        assert!(script.contains("keylend") && script.contains("dry-run"), "{shell}: {script}");
    }
}

#[test]
fn who_sends_too_many_wrong_tokens_waits_and_others_do_not() {
    crate::run(async {
        let folder = tempfile::tempdir().unwrap();
        let entry = format!("ops:admin:{}", TokenSecret::new("right").digest());
        let program = Program::serve(keylend(&folder, &[("KEYLEND_TOKENS", entry)], &[]));
        let client = Client::new();
        let ask = async |token: &str| {
            let asked = client.get(format!("{}/v1/stats", program.url)).bearer_auth(token);
            asked.send().await.unwrap()
        };
        let mut refused = None;
        for attempt in 0..200 {
            let answer = ask("klt_planted_wrong").await;
            if answer.status() == 429 {
                assert!(attempt >= 20, "after {attempt}");
                refused = Some(answer);
                break;
            }
            assert_eq!(answer.status(), 401);
        }
        let refused = refused.expect("there is an end to it");
        assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["code"], "too_many_requests");
        // Who has a token is not kept out by those at the same address who have none.
        assert_eq!(ask("right").await.status(), 200);
        let log = program.log();
        let told = log.matches("event=\"token_refused\"").count();
        assert!((20..40).contains(&told) && log.contains("address=127.0.0.1"), "{told}: {log}");
        assert!(!log.contains("planted"), "{log}");
    });
}

#[test]
fn a_token_asks_as_often_as_it_may() {
    crate::run(async {
        let folder = tempfile::tempdir().unwrap();
        let section = |name: &str, rate: &str| {
            let digest = TokenSecret::new(name).digest();
            format!("[[tokens]]\nname = \"{name}\"\nroles = [\"admin\"]\nsha256 = \"{digest}\"\n{rate}\n")
        };
        let toml = section("slow", "requests_per_second = 2") + &section("quick", "");
        std::fs::write(folder.path().join("keylend.toml"), toml).unwrap();
        let program = Program::serve(keylend(&folder, &[], &[]));
        let client = Client::new();
        let ask = async |token: &str| {
            let asked = client.get(format!("{}/v1/pools", program.url)).bearer_auth(token);
            asked.send().await.unwrap().status().as_u16()
        };
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push((ask("slow").await, ask("quick").await));
        }
        assert!(answers.iter().all(|(_, quick)| *quick == 200), "{answers:?}");
        assert_eq!(answers[0].0, 200);
        assert!(answers.iter().any(|(slow, _)| *slow == 429), "{answers:?}");
        // After a while it may again.
        let deadline = std::time::Instant::now() + crate::program::PATIENCE;
        while ask("slow").await != 200 {
            assert!(std::time::Instant::now() < deadline);
        }
    });
}
