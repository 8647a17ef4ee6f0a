//! What is described is what there is: the description of the interface, tried by schemathesis, and docs/api.md, typed.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod paper;
#[allow(dead_code, reason = "these tests open no store themselves")]
#[path = "../support/place.rs"]
#[macro_use]
mod place;
#[path = "../support/program.rs"]
mod program;
#[allow(dead_code, reason = "the paper on moving over is another one")]
#[path = "../support/paper.rs"]
mod typed;

use std::path::Path;
use std::process::Command;

use reqwest::Client;
use serde_json::json;

use program::{Program, keylend};

/// A token that may do everything, as it is set and as it is sent.
const ADMIN: (&str, &str) =
    ("tester:admin:b5f57058aba77daca500ad8e9e7b1da6e9880f8694bafaa86a689c01a78fe463", "Bearer klt_tester");

/// Asks for everything that is described, well and badly, the same each time, and judges the answers: none is outside of
/// its description, none is an error of the program, what is described as right is taken and what is not is refused, and
/// without a token nobody gets anything.
#[test_with::env(KEYLEND_TEST_SCHEMATHESIS)]
#[tokio::test]
async fn no_answer_is_outside_of_its_description() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("KEYLEND_DATA", "keylend.db".to_owned()), ("KEYLEND_TOKENS", ADMIN.0.to_owned())];
    // A provider that is not there, so that none is asked.
    let provider = "[pools.stability.verify]\nurl = \"http://127.0.0.1:1/\"\n";
    std::fs::write(folder.path().join("keylend.toml"), provider).unwrap();
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let client = Client::new();
    for pool in ["stability", "plantid"] {
        let keys: Vec<String> = (0..2000).map(|number| format!("sk-{pool}-{number:04}")).collect();
        let add = client.post(format!("{}/v1/pools/{pool}/keys", program.url)).header("authorization", ADMIN.1);
        assert_eq!(add.json(&json!({"api_keys": keys})).send().await.unwrap().status(), 200);
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/described");
    for file in ["schemathesis.toml", "hooks.py"] {
        std::fs::copy(here.join(file), folder.path().join(file)).unwrap();
    }
    let mut command = Command::new(std::env::var("KEYLEND_TEST_SCHEMATHESIS").unwrap());
    command.current_dir(folder.path()).args(["run", &format!("{}/openapi.json", program.url)]);
    command.args(["--header", &format!("Authorization: {}", ADMIN.1), "--seed", "1", "--max-examples", "15"]);
    // Events never end; what they hold is looked at by tests/api/events.rs.
    command.args(["--exclude-path", "/v1/events"]);
    let judged = command.args(["--no-color", "--request-timeout", "70"]).output().unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{said}{}", String::from_utf8_lossy(&judged.stderr));
    assert!(said.contains("No issues found") || said.contains(" 0 failed") || !said.contains('❌'), "{said}");
}
