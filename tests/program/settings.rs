//! Settings as a user meets them: every fault, all of them together, where each setting comes from, SIGHUP.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use keylend::domain::{Token, TokenSecret};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{Program, keylend, output, tells};

on_both_stores!(pools_of_the_file_lend_by_their_own_policies,);

/// What a command says on stderr, and its exit code, with these variables and files.
fn complains(settings: &[(&str, &str)], files: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let settings: Vec<(&str, String)> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let done = output(keylend(&folder, &settings, arguments), "");
    let untouched = !folder.path().join("keylend.db").exists() && !folder.path().join("x.log").exists();
    assert!(done.status.code() != Some(64) || untouched, "nothing is opened before the settings are known to be good");
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

const VARIABLES: [&str; 18] = [
    "MONGODB_URI",
    "MONGODB_DATABASE",
    "KEYLEND_STORE_TIMEOUT",
    "FLASK_RUN_PORT",
    "KEYLEND_LISTEN",
    "KEYLEND_TOKENS",
    "KEYLEND_ENCRYPTION_KEYS",
    "KEYLEND_DIGEST_KEY",
    "KEYLEND_OPEN_FLASK",
    "KEYLEND_HOSTS",
    "KEYLEND_AUDIT_REQUIRED",
    "KEYLEND_COMBINE",
    "KEYLEND_MAX_IN_FLIGHT",
    "KEYLEND_BODY_LIMIT",
    "KEYLEND_CONFIG",
    "KEYLEND_LOG_FORMAT",
    "FLASK_DEBUG",
    "RUST_LOG",
];

/// No setting takes it.
const WRONG: &str = "hush hush=[";

#[test]
fn the_fault_of_each_setting_is_told_in_each_place_and_ends_with_64() {
    for setting in VARIABLES {
        // A database is looked at where a MongoDB is set.
        let beside = ("MONGODB_URI", "mongodb://127.0.0.1:1/");
        let beside = if setting == "MONGODB_DATABASE" { vec![beside] } else { Vec::new() };
        let variable: Vec<(&str, &str)> = beside.iter().copied().chain([(setting, WRONG)]).collect();
        let dot_env = format!("{setting}='{WRONG}'\n");
        let in_file = format!("\n{} = '{WRONG}'\n", setting.trim_start_matches("KEYLEND_").to_lowercase());
        for (variables, files) in [
            (&variable, vec![]),
            (&beside, vec![(".env", dot_env.as_str())]),
            (&beside, vec![("keylend.toml", in_file.as_str())]),
        ] {
            let (code, said) = complains(variables, &files, &["serve"]);
            assert_eq!(code, Some(64), "{setting} {files:?}: {said}");
            let place = if files.first().is_some_and(|(name, _)| *name == "keylend.toml") { "line 2" } else { setting };
            assert!(said.contains(place) && !said.contains("hush"), "{setting} {files:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{setting}: {said}");
        }
    }
}

#[test]
fn all_faults_of_all_places_are_told_at_once() {
    let toml =
        "listn = 1\n[pools.mine]\npicks = 'hush'\n[[tokens]]\nname = 'hush'\n[pools.plantid]\nuses_per_key = 0\n";
    let dot_env = "KEYLEND_MAX_IN_FLIGHT=hush\nKEYLEND_CONFIG=mine.toml\nLOG_FILE=x.log\n";
    let variables = [("KEYLEND_STORE_TIMEOUT", "hush"), ("KEYLEND_TOKENS", "hush,web:service@hush2:hush")];
    let (code, said) = complains(&variables, &[(".env", dot_env), ("mine.toml", toml)], &["serve", "--listen", "hush"]);
    assert_eq!(code, Some(64));
    for fault in [
        "mine.toml line 1: there is no such name; did you mean listen?",
        "mine.toml line 2: a new pool needs uses_per_key",
        "mine.toml line 3: picks must be",
        "mine.toml line 4: a token has name, roles and sha256",
        "mine.toml line 7: uses_per_key must be",
        "KEYLEND_STORE_TIMEOUT: it must be",
        "KEYLEND_LISTEN: it must be",
        "KEYLEND_MAX_IN_FLIGHT: it must be a whole number from 1 to 100000 (.env)",
        "KEYLEND_TOKENS: entry 1: ",
        "KEYLEND_TOKENS: entry 2: ",
    ] {
        assert!(said.contains(fault), "{fault}: {said}");
    }
    assert_eq!(said.lines().count(), 10, "{said}");
    assert!(!said.contains("hush"), "{said}");
    assert!(said.lines().all(|line| line.starts_with("keylend: ")), "{said}");
}

#[test]
fn what_is_no_text_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = keylend(&folder, &[], &["serve"]);
    command.env("KEYLEND_DATA", OsStr::from_bytes(b"a\xff")).env("SOMEBODY_ELSES", OsStr::from_bytes(b"b\xff"));
    let done = output(command, "");
    assert_eq!(done.status.code(), Some(64));
    assert_eq!(String::from_utf8(done.stderr).unwrap(), "keylend: KEYLEND_DATA: it is no UTF-8 text\n");
}

#[test]
fn other_machines_need_tokens_and_the_first_one_can_be_made_before() {
    let listen = ("KEYLEND_LISTEN", "0.0.0.0:0");
    let (code, said) = complains(&[listen], &[], &[]);
    assert_eq!(code, Some(64));
    assert!(said.contains("--insecure-open") && said.contains("keylend token new"), "{said}");
    assert_eq!(complains(&[listen], &[], &["check"]).0, Some(64));
    let (code, said) = complains(&[listen], &[], &["token", "new", "web", "--role", "service"]);
    assert_eq!(code, Some(0), "{said}");
}

async fn pools_of_the_file_lend_by_their_own_policies(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[pools.mine]\nuses_per_key = 2\ncollection = \"my_keys\"\npicks = \"in_order\"\nlease_ttl_seconds = 7\n\
                [pools.stability]\nuses_per_key = 1\n";
    std::fs::write(folder.path().join("keylend.toml"), toml).unwrap();
    let program = Program::serve(keylend(&folder, &place.settings(), &[]));
    assert!(program.log().contains("stability 0, plantid 0, healthid 0, mine 0"), "{}", program.log());
    let client = Client::new();
    let post = async |path: &str, body: Value| {
        let answer = client.post(format!("{}/v1/pools/{path}", program.url)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    for (pool, leases) in [("mine", 4), ("stability", 2)] {
        post(&format!("{pool}/keys"), json!({"api_keys": ["sk-own-0123456789a", "sk-own-0123456789b"]})).await;
        let mut keys = Vec::new();
        for _ in 0..leases {
            let (status, lease) = post(&format!("{pool}/leases"), json!({})).await;
            assert_eq!(status, 201, "{lease}");
            keys.push(lease["api_key"].as_str().unwrap().to_owned());
        }
        assert_eq!(post(&format!("{pool}/leases"), json!({})).await.0, 503, "{pool} is spent");
        if pool == "mine" {
            let expected = ["sk-own-0123456789a", "sk-own-0123456789a", "sk-own-0123456789b", "sk-own-0123456789b"];
            assert_eq!(keys, expected, "key after key");
        }
    }
    let policies: Value = reqwest::get(format!("{}/v1/pools", program.url)).await.unwrap().json().await.unwrap();
    let mine = policies["pools"].as_array().unwrap().iter().find(|pool| pool["name"] == "mine").unwrap();
    assert_eq!((&mine["uses_per_key"], &mine["lease_ttl_seconds"]), (&json!(2), &json!(7)));
    assert_eq!(mine["picks"], "in_order");
    // Commands know the pool as well.
    let listed = output(keylend(&folder, &place.settings(), &["keys", "list", "--pool", "mine"]), "");
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
}

/// The lines that tell that the settings were read, as soon as there are so many.
fn read(program: &mut Program, times: usize) -> String {
    program.wait_for(|log| {
        let lines: Vec<&str> = log.lines().filter(|line| tells(line, "settings_read")).collect();
        (lines.len() >= times).then(|| lines[times - 1].to_owned())
    })
}

/// A token of a name in `.env`: its text is the name.
fn write_token(folder: &TempDir, name: &str) {
    let entry = Token::parse(&format!("{name}:stats:{}", TokenSecret::new(name).digest())).unwrap().entry();
    std::fs::write(folder.path().join(".env"), format!("KEYLEND_TOKENS={entry}\n")).unwrap();
}

/// Whether these tokens are let in.
async fn let_in<const N: usize>(program: &Program, tokens: [&str; N]) -> [bool; N] {
    let client = Client::new();
    let mut answers = [false; N];
    for (answer, token) in answers.iter_mut().zip(tokens) {
        let asked = client.get(format!("{}/v1/stats", program.url)).bearer_auth(token).send().await.unwrap();
        *answer = asked.status().as_u16() == 200;
    }
    answers
}

#[test]
fn secrets_are_read_from_files_and_again_on_sighup() {
    crate::run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let entry = |name: &str, until: &str| format!("{name}:admin:{}{until}\n", TokenSecret::new(name).digest());
        std::fs::write(&file, entry("one", "") + &entry("two", ":2026-01-01")).unwrap();
        std::fs::write(folder.path().join(".env"), "KEYLEND_TOKENS_FILE=tokens\n").unwrap();
        let mut program = Program::serve(keylend(&folder, &[], &[]));
        assert!(read(&mut program, 1).contains("tokens=2"));
        assert_eq!(let_in(&program, ["one", "two", "three"]).await, [true, false, false]);
        let ended =
            program.wait_for(|log| log.lines().find(|line| line.contains("a token has ended")).map(str::to_owned));
        assert!(ended.contains("WARN") && ended.contains("token=\"two\""), "{ended}");
        std::fs::write(&file, entry("three", "")).unwrap();
        program.signal("HUP");
        assert!(read(&mut program, 2).contains("tokens=1"));
        assert_eq!(let_in(&program, ["one", "two", "three"]).await, [false, false, true]);
        // A file that has gone takes nobody's token away.
        std::fs::remove_file(&file).unwrap();
        program.signal("HUP");
        let faulty = read(&mut program, 3);
        assert!(faulty.contains("KEYLEND_TOKENS_FILE: the file that it names cannot be read"), "{faulty}");
        assert_eq!(let_in(&program, ["one", "two", "three"]).await, [false, false, true]);
        std::fs::remove_file(folder.path().join(".env")).unwrap();
        // The database is named by a file in the settings' file as well.
        std::fs::write(folder.path().join("uri"), "mongodb://127.0.0.1:1/\n").unwrap();
        std::fs::write(folder.path().join("keylend.toml"), "mongodb_uri_file = \"uri\"\n").unwrap();
        let other = output(keylend(&folder, &[("KEYLEND_TOKENS", entry("four", ""))], &["check"]), "");
        let said = String::from_utf8(other.stdout).unwrap();
        assert!(said.contains("MONGODB_URI") && said.contains("(not shown)"), "{said}");
    });
}

#[test]
fn tokens_are_read_again_on_sighup_unless_they_are_faulty_or_gone() {
    crate::run(async {
        let folder = tempfile::tempdir().unwrap();
        write_token(&folder, "one");
        let mut program = Program::serve(keylend(&folder, &[], &[]));
        assert!(read(&mut program, 1).contains("tokens=1"));
        assert!(program.log().contains("tokens=\"1 token\""), "{}", program.log());
        assert_eq!(let_in(&program, ["one", "two", "three"]).await, [true, false, false]);
        let two = TokenSecret::new("two").digest();
        let section = format!("[[tokens]]\nname = \"two\"\nroles = [\"admin\"]\nsha256 = \"{two}\"\n");
        std::fs::write(folder.path().join("keylend.toml"), section).unwrap();
        program.signal("HUP");
        assert!(read(&mut program, 2).contains("tokens=2"));
        assert_eq!(let_in(&program, ["one", "two", "three"]).await, [true, true, false]);
        write_token(&folder, "three");
        program.signal("HUP");
        assert!(read(&mut program, 3).contains("tokens=2"));
        assert_eq!(let_in(&program, ["one", "two", "three"]).await, [false, true, true]);

        std::fs::write(folder.path().join("keylend.toml"), "[[tokens]]\nname = \"hush hush\"\n").unwrap();
        program.signal("HUP");
        let faulty = read(&mut program, 4);
        assert!(faulty.contains("WARN") && faulty.contains("the tokens stay") && !faulty.contains("hush"), "{faulty}");
        for file in ["keylend.toml", ".env"] {
            std::fs::remove_file(folder.path().join(file)).unwrap();
        }
        program.signal("HUP");
        assert!(read(&mut program, 5).contains("no token is left"));
        assert_eq!(let_in(&program, ["one", "two", "three"]).await, [false, true, true]);
        let (status, _) = program.terminate();
        assert!(status.success());
    });
}
