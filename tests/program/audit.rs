//! The audit: who did what to which key, searched; and what happens where it cannot be written.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use keylend::domain::TokenSecret;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{Program, keylend, output, tells};

on_both_stores!(who_did_what_to_which_key_can_be_told, an_act_that_cannot_be_written_down_is_refused);

const SECRET: &str = "sk-audit-0123456789";
const TOKEN: &str = "klt_of_the_audit";

struct Asking {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    program: Program,
    client: reqwest::Client,
}

impl Asking {
    fn start(place: &Place, more: &[(&'static str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = place.settings();
        settings.push(("KEYLEND_TOKENS", format!("web:admin:{}", TokenSecret::new(TOKEN).digest())));
        settings.extend_from_slice(more);
        let path = |path: &Path| folder.path().join(path).display().to_string();
        for (_, value) in settings.iter_mut().filter(|(name, _)| *name == "KEYLEND_AUDIT_FILE") {
            *value = path(Path::new(value.as_str()));
        }
        let program = Program::serve(keylend(&folder, &settings, &[]));
        Self { folder, settings, program, client: reqwest::Client::new() }
    }

    async fn ask(&self, method: Method, path: &str, id: &str, body: Value) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.program.url));
        let request = request.bearer_auth(TOKEN).header("x-request-id", id);
        let answer = if body.is_null() { request.send() } else { request.json(&body).send() }.await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        output(keylend(&self.folder, &self.settings, arguments), "")
    }

    /// The lines that a search finds.
    fn audit(&self, arguments: &[&str]) -> Vec<Value> {
        let found = self.run(&[&["audit", "--json"], arguments].concat());
        String::from_utf8(found.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn words<'a>(lines: &'a [Value], members: &[&str]) -> Vec<Vec<&'a str>> {
    lines.iter().map(|line| members.iter().map(|member| line[*member].as_str().unwrap_or("-")).collect()).collect()
}

async fn who_did_what_to_which_key_can_be_told(place: Place) {
    let asking = Asking::start(&place, &[("KEYLEND_AUDIT_FILE", "audit.log".to_owned())]);
    let pool = "/v1/pools/stability";
    let post = Method::POST;
    asking.ask(post.clone(), &format!("{pool}/keys"), "r-add", json!({"api_keys": [SECRET]})).await;
    let (_, lent) = asking.ask(post.clone(), &format!("{pool}/leases"), "r-lease", Value::Null).await;
    let (key, lease) = (lent["id"].as_str().unwrap(), lent["lease_id"].as_str().unwrap());
    let lease_path = format!("/v1/leases/{lease}");
    asking.ask(post.clone(), &format!("{lease_path}/renew"), "r-renew", json!({"ttl_seconds": 60})).await;
    asking.ask(post.clone(), &format!("{lease_path}/report"), "r-report", json!({"outcome": "rate_limited"})).await;
    // One that is refused has done nothing.
    let gone = asking.ask(post.clone(), &format!("{lease_path}/report"), "r-late", json!({"outcome": "used"})).await;
    assert_eq!(gone.0, 410);
    let one = format!("{pool}/keys/{key}");
    let change = json!({"is_active": true, "resting_until": null, "note": SECRET});
    assert_eq!(asking.ask(Method::PATCH, &one, "r-change", change).await.0, 200);
    asking.ask(post.clone(), &format!("{pool}/find_usable_key"), "r-find", Value::Null).await;
    asking.ask(post.clone(), &format!("{pool}/increment_usage"), "r-count", json!({"api_key": SECRET})).await;
    asking.ask(post.clone(), &format!("{pool}/reset"), "r-reset", json!({"ids": [key]})).await;
    assert_eq!(asking.ask(Method::DELETE, &one, "r-remove", Value::Null).await.0, 204);
    assert_eq!(asking.ask(Method::DELETE, &one, "r-again", Value::Null).await.0, 404);
    asking.ask(post.clone(), "/v1/pools/plantid/keys", "r-plant", json!({"api_keys": [SECRET]})).await;
    asking.ask(Method::GET, "/api/plantid", "r-take", Value::Null).await;

    let all = asking.audit(&["--all"]);
    let told = words(&all, &["request.id", "act", "outcome", "what"]);
    let expected = [
        ["r-add", "add", "begun", "-"],
        ["r-add", "add", "done", "-"],
        ["r-lease", "lease", "done", "-"],
        ["r-renew", "renew", "done", "-"],
        ["r-report", "report", "done", "rate_limited"],
        ["r-change", "change", "begun", "is_active resting_until note"],
        ["r-change", "change", "done", "is_active resting_until note"],
        ["r-find", "find_usable_key", "done", "-"],
        ["r-count", "increment_usage", "done", "-"],
        ["r-reset", "reset", "begun", "-"],
        ["r-reset", "reset", "done", "-"],
        ["r-remove", "remove", "begun", "-"],
        ["r-remove", "remove", "done", "-"],
        ["r-again", "remove", "begun", "-"],
        ["r-again", "remove", "failed", "-"],
        ["r-plant", "add", "begun", "-"],
        ["r-plant", "add", "done", "-"],
        ["r-take", "take", "done", "-"],
    ];
    assert_eq!(told, expected, "{all:?}");
    assert!(all.iter().all(|line| line["by"] == "web" && line["address"] == "127.0.0.1"), "{all:?}");
    let of_key = asking.audit(&["--key", key, "--outcome", "done"]);
    assert_eq!(of_key.len(), 8, "{of_key:?}");
    assert_eq!(asking.audit(&["--pool", "plantid", "--act", "take"]).len(), 1);
    assert_eq!(asking.audit(&["--last", "2"]), all[all.len() - 2..]);
    let at = all[5]["at"].as_str().unwrap();
    assert!(asking.audit(&["--since", at]).contains(&all[5]) && !asking.audit(&["--until", at]).contains(&all[5]));

    // What is typed is written there too, and people see a table.
    let disabled = asking.run(&["keys", "remove", "--yes", key]);
    assert_eq!(disabled.status.code(), Some(1), "{disabled:?}");
    let typed = asking.audit(&["--by", "the command line"]);
    assert_eq!(words(&typed, &["act", "outcome", "key.id"]), [["remove", "begun", key], ["remove", "failed", key]]);
    assert!(typed.iter().all(|line| line["uid"].is_u64()));
    let table = String::from_utf8(asking.run(&["audit", "--request", "r-report"]).stdout).unwrap();
    assert!(table.contains("rate_limited") && table.contains("127.0.0.1") && table.contains(key), "{table}");
    let none = asking.run(&["audit", "--by", "nobody"]);
    assert_eq!((none.status.code(), none.stdout.is_empty()), (Some(1), true));

    let file = asking.folder.path().join("audit.log");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(!written.contains(SECRET) && !written.contains(TOKEN), "{written}");
    assert!(!written.contains(lease.rsplit('.').next().unwrap()), "{written}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

async fn an_act_that_cannot_be_written_down_is_refused(place: Place) {
    let required = [("KEYLEND_AUDIT_FILE", "audit.log"), ("KEYLEND_AUDIT_REQUIRED", "true")];
    let required = required.map(|(name, value)| (name, value.to_owned()));
    let mut asking = Asking::start(&place, &required);
    let keys = "/v1/pools/stability/keys";
    asking.ask(Method::POST, keys, "r-1", json!({"api_keys": [SECRET]})).await;
    let (_, listed) = asking.ask(Method::GET, keys, "r-2", Value::Null).await;
    let id = listed["keys"][0]["id"].as_str().unwrap().to_owned();
    let key = format!("{keys}/{id}");

    // The disk is full from here on.
    let file = asking.folder.path().join("audit.log");
    std::fs::rename(&file, asking.folder.path().join("audit.log.1")).unwrap();
    symlink("/dev/full", &file).unwrap();
    asking.program.signal("HUP");
    asking.program.wait_for(|log| (log.lines().filter(|line| tells(line, "settings_read")).count() > 1).then_some(()));
    for (method, path, body) in [
        (Method::PATCH, key.as_str(), json!({"is_active": false})),
        (Method::DELETE, &key, Value::Null),
        (Method::POST, keys, json!({"api_keys": ["sk-audit-another-one"]})),
        (Method::POST, "/v1/pools/stability/reset", json!({"all": true})),
        (Method::POST, "/v1/pools/stability/reset", json!({"ids": [id]})),
        (Method::GET, "/v1/pools/stability/export", Value::Null),
        (Method::POST, "/v1/pools/stability/generate", Value::Null),
        (Method::POST, &format!("{key}/verify"), Value::Null),
    ] {
        let (status, problem) = asking.ask(method.clone(), path, "r-3", body).await;
        assert_eq!((status, problem["code"].as_str()), (503, Some("audit_unavailable")), "{method} {path}");
    }
    for arguments in [
        &["keys", "disable", &id][..],
        &["keys", "remove", "--yes", &id],
        &["keys", "reset", "--yes", "--all"],
        &["keys", "add"],
        &["keys", "export", "new.ndjson"],
        &["keys", "find", "--reveal"],
    ] {
        let refused = asking.run(arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{arguments:?} {said}");
        assert!(said.contains("KEYLEND_AUDIT_FILE cannot be written"), "{arguments:?} {said}");
        assert!(!String::from_utf8_lossy(&refused.stdout).contains(SECRET), "{arguments:?}");
    }
    let (_, after) = asking.ask(Method::GET, keys, "r-4", Value::Null).await;
    assert_eq!(after["keys"], listed["keys"], "an act was done that was refused");
    // Who asks for keys gets them all the same, and an operator can look.
    let (status, lent) = asking.ask(Method::POST, "/v1/pools/stability/leases", "r-5", Value::Null).await;
    assert_eq!((status, &lent["id"]), (201, &json!(id)));
    assert!(asking.run(&["keys", "list"]).status.success());

    std::fs::remove_file(&file).unwrap();
    asking.program.signal("HUP");
    asking.program.wait_for(|log| (log.lines().filter(|line| tells(line, "settings_read")).count() > 2).then_some(()));
    assert_eq!(asking.ask(Method::PATCH, &key, "r-6", json!({"is_active": false})).await.0, 200);
    let again = asking.audit(&["--all"]);
    assert_eq!(words(&again, &["request.id", "outcome"]), [["r-6", "begun"], ["r-6", "done"]]);
    let (_, log) = asking.program.terminate();
    for event in ["audit_lost", "audit_back"] {
        assert_eq!(log.lines().filter(|line| tells(line, event)).count(), 1, "{event} {log}");
    }
}

#[test]
fn files_that_cannot_be_used_are_faults_of_their_setting() {
    let folder = tempfile::tempdir().unwrap();
    let complains = |settings: &[(&str, &str)], arguments: &[&str]| {
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let done = output(keylend(&folder, &settings, arguments), "");
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (required, nowhere) = (("KEYLEND_AUDIT_REQUIRED", "true"), ("KEYLEND_AUDIT_FILE", "nowhere/audit.log"));
    for settings in [vec![required], vec![nowhere], vec![nowhere, required]] {
        let (code, said) = complains(&settings, &["serve", "--listen", "127.0.0.1:0"]);
        assert!(code == Some(64) && said.contains("KEYLEND_AUDIT_FILE"), "{settings:?} {code:?} {said}");
    }
    // A command goes on where it is not required, and says so.
    let (code, said) = complains(&[nowhere], &["keys", "add"]);
    assert!(code == Some(0) && said.contains("KEYLEND_AUDIT_FILE cannot be opened"), "{code:?} {said}");
    assert_eq!(complains(&[nowhere, required], &["keys", "add"]).0, Some(2));
    let (code, said) = complains(&[], &["audit"]);
    assert!(code == Some(64) && said.contains("KEYLEND_AUDIT_FILE"), "{said}");
    // Lines of another file are counted, and those that are there are found.
    let line = r#"{"at":"2026-01-31T00:00:00.000Z","act":"take","outcome":"done"}"#;
    std::fs::write(folder.path().join("mixed"), format!("{{\n\n{line}\n{line}x\n")).unwrap();
    let done = output(keylend(&folder, &[], &["audit", "--json", "mixed"]), "");
    assert_eq!(String::from_utf8(done.stdout).unwrap().trim(), line);
    assert!(String::from_utf8(done.stderr).unwrap().contains("2 lines are none of an audit"));
}
