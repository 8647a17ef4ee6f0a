//! Keys are verified with their provider, a server on this machine: by command, by route, on import, by a sweep.

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{PATIENCE, Program, keylend, output};
use crate::provider::Provider;

on_both_stores!(
    what_the_provider_says_of_a_key_becomes_of_it,
    a_provider_that_says_nothing_changes_nothing,
    an_import_takes_what_the_provider_takes,
    a_sweep_brings_back_what_works_again_one_instance_at_a_time,
);

/// A terminal with a provider.
pub struct Desk {
    pub folder: TempDir,
    pub settings: Vec<(&'static str, String)>,
    pub provider: Provider,
}

impl Desk {
    /// `more`: further lines of `keylend.toml`, after those by which stability is verified.
    pub fn new(place: &Place, more: &str) -> Self {
        let (folder, provider) = (tempfile::tempdir().unwrap(), Provider::start());
        std::fs::write(folder.path().join("keylend.toml"), provider.verify("stability", more)).unwrap();
        Self { folder, settings: place.settings(), provider }
    }

    /// What a command prints, its complaints, and its exit code.
    pub fn run(&self, arguments: &[&str], input: &str) -> (String, String, Option<i32>) {
        let done = output(keylend(&self.folder, &self.settings, arguments), input);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(done.stdout), text(done.stderr), done.status.code())
    }

    /// What a command prints, a JSON value a line.
    #[track_caller]
    pub fn json(&self, code: i32, arguments: &[&str], input: &str) -> Vec<Value> {
        let (out, err, status) = self.run(&[arguments, &["--json"]].concat(), input);
        assert_eq!(status, Some(code), "{arguments:?}: {out} {err}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn add(&self, pool: &str, keys: &str) {
        let (out, err, code) = self.run(&["keys", "add", "--pool", pool, "-"], keys);
        assert_eq!(code, Some(0), "{out} {err}");
    }

    /// A key as it is shown, by its secret.
    pub fn key(&self, pool: &str, secret: &str) -> Value {
        self.json(0, &["keys", "show", "--pool", pool, "--secret", "-"], secret).remove(0)
    }

    pub fn serve(&self) -> Program {
        Program::serve(keylend(&self.folder, &self.settings, &[]))
    }
}

/// Waits until it is so.
pub fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn what_the_provider_says_of_a_key_becomes_of_it(place: Place) {
    let desk = Desk::new(&place, "");
    let (works, server) = (["alive", "rejected", "forbidden", "exhausted", "limited"], desk.serve());
    let keys = works.map(|word| format!("sk-{word}-0123456789"));
    desk.add("stability", &keys.join("\n"));
    let client = Client::new();
    for (key, expected) in keys.iter().zip([
        ("alive", json!(24.5), "usable", json!(null)),
        ("rejected", json!(null), "disabled", json!("rejected")),
        ("rejected", json!(null), "disabled", json!("rejected")),
        ("exhausted", json!(null), "disabled", json!("exhausted")),
        ("rate_limited", json!(null), "resting", json!(null)),
    ]) {
        let id = desk.key("stability", key)["id"].as_str().unwrap().to_owned();
        let path = format!("{}/v1/pools/stability/keys/{id}/verify", server.url);
        let answer: Value = client.post(path).send().await.unwrap().json().await.unwrap();
        let (verdict, credits, state, reason) = expected;
        let shown = json!([answer["verdict"], answer["credits"], answer["state"], answer["reason"], answer["id"]]);
        assert_eq!(shown, json!([verdict, credits, state, null, id]), "{key}");
        let after = desk.key("stability", key);
        assert_eq!((&after["disabled_reason"], &after["verified"]["verdict"]), (&reason, &json!(verdict)), "{key}");
        assert_eq!(after["verified"]["credits"], credits);
        assert_eq!(desk.provider.asked(key), 1);
    }
    assert_eq!(server.log().matches("event=\"key_verified\"").count(), keys.len());
    // What a report disabled, and nothing else, comes back when the provider takes it again.
    for key in &keys {
        desk.provider.stands(key, "alive");
    }
    let operators = desk.key("stability", &keys[0])["id"].as_str().unwrap().to_owned();
    desk.run(&["keys", "disable", &operators], "");
    let said = desk.json(0, &["keys", "verify", "--all"], "");
    let states: Vec<&str> = said.iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["disabled", "usable", "usable", "usable", "resting"]);
    // Of no credits there is nothing to enable.
    desk.provider.stands(&keys[1], "exhausted");
    desk.run(&["keys", "verify", "--secret", "-"], &keys[1]);
    desk.provider.stands(&keys[1], "empty");
    let said = desk.json(0, &["keys", "verify", "--secret", "-"], &keys[1]);
    assert_eq!((&said[0]["credits"], &said[0]["state"]), (&json!(0.0), &json!("disabled")));
}

async fn a_provider_that_says_nothing_changes_nothing(place: Place) {
    let desk = Desk::new(&place, "");
    let words = ["page", "elsewhere", "failing", "silent", "endless", "gone"];
    let keys = words.map(|word| format!("sk-{word}-0123456789"));
    desk.add("stability", &keys.join("\n"));
    let said = desk.json(1, &["keys", "verify", "--all"], "");
    let expected = [
        "is no JSON",
        "leads elsewhere",
        "answered 503",
        "did not answer within 2 s",
        "more than 65536 bytes",
        "cannot be reached",
    ];
    for ((key, said), expected) in keys.iter().zip(&said).zip(expected) {
        assert_eq!((&said["verdict"], &said["state"]), (&json!("unknown"), &json!("usable")), "{key}");
        assert!(said["reason"].as_str().unwrap().contains(expected), "{key}: {said}");
        assert_eq!(desk.key("stability", key)["verified"], json!(null));
    }
    // The key was not sent where the provider's address leads.
    assert_eq!(desk.provider.asked(&keys[1]), 1);
    let (out, err, code) = desk.run(&["keys", "verify", "--all"], "");
    assert_eq!(code, Some(1), "{out}");
    assert!(keys.iter().all(|key| !out.contains(key.as_str()) && !err.contains(key.as_str())), "{out} {err}");
    let (_, err, code) = desk.run(&["keys", "verify", "--all", "--pool", "plantid"], "");
    assert!(code == Some(2) && err.contains("[pools.plantid.verify] needs url"), "{err}");
    desk.add("plantid", "plant-0123456789");
    let id = desk.key("plantid", "plant-0123456789")["id"].as_str().unwrap().to_owned();
    let server = desk.serve();
    let path = format!("{}/v1/pools/plantid/keys/{id}/verify", server.url);
    let problem: Value = Client::new().post(path).send().await.unwrap().json().await.unwrap();
    assert_eq!(problem["code"], "cannot_verify");
}

async fn an_import_takes_what_the_provider_takes(place: Place) {
    let desk = Desk::new(&place, "");
    desk.add("stability", "sk-alive-known-0123456789");
    let lines = "sk-alive-a-0123456789\nsk-rejected-b-0123456789\nsk-exhausted-c-0123456789\nsk-limited-d-0123456789\n\
                 sk-failing-e-0123456789\nsk-alive-known-0123456789\n";
    let file = desk.folder.path().join("keys.txt");
    std::fs::write(&file, lines).unwrap();
    let (out, err, code) = desk.run(&["keys", "import", "--verify", "keys.txt"], "");
    assert_eq!((out.trim(), code), ("3 added, 1 known, 2 invalid", Some(1)), "{err}");
    assert!(
        err.contains("line 2 is a key that its provider rejects") && err.contains("line 3 is a key on which"),
        "{err}"
    );
    assert!(err.contains("1 added without the provider's word: the provider answered 503"), "{err}");
    assert_eq!(desk.key("stability", "sk-alive-a-0123456789")["verified"]["credits"], json!(24.5));
    assert_eq!(desk.key("stability", "sk-limited-d-0123456789")["state"], json!("resting"));
    assert_eq!(desk.provider.asked("sk-alive-known-0123456789"), 0);
    let added = desk.json(0, &["keys", "add", "--verify", "-"], "sk-alive-f-0123456789");
    assert_eq!(added[0]["added"], 1);
}

async fn a_sweep_brings_back_what_works_again_one_instance_at_a_time(place: Place) {
    let desk = Desk::new(&place, "sweep_seconds = 1");
    let [back, still, operators, alive] =
        ["alive-back", "rejected-still", "alive-operators", "alive-never"].map(|word| format!("sk-{word}-0123456789"));
    desk.add("stability", &[&*back, &still, &operators, &alive].join("\n"));
    // As reports leave them.
    desk.provider.stands(&back, "exhausted");
    for key in [&back, &still] {
        desk.run(&["keys", "verify", "--secret", "-"], key);
    }
    desk.run(&["keys", "disable", "--secret", "-"], &operators);
    assert_eq!(desk.key("stability", &back)["state"], "disabled");
    desk.provider.stands(&back, "alive");
    let asked_before = desk.provider.asked_in_all();
    let started = Instant::now();
    let servers = [desk.serve(), desk.serve(), desk.serve()];
    until(|| desk.key("stability", &back)["state"] == "usable");
    assert_eq!(desk.key("stability", &operators)["disabled_reason"], "operator");
    assert_eq!((desk.provider.asked(&operators), desk.provider.asked(&alive)), (0, 0));
    until(|| desk.provider.asked(&still) > 3);
    // One instance at a time, and a pause of 1 s between two keys and two passes: three instances ask no more than one.
    let most = started.elapsed().as_secs() + 2;
    let asked = u64::from(desk.provider.asked_in_all() - asked_before);
    assert!(asked <= most, "{asked} questions in {most} s");
    drop(servers);
}
