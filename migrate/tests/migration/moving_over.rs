//! Part two of the paper on moving over: its lines are typed, keylend serving beside them, and its outputs are compared.

use std::path::Path;
use std::process::{Command, Stdio};

use bson::{DateTime, Document, doc, oid::ObjectId};

use super::commands::on_mongodb;
use crate::support::Migration;

const PAPER: &str = include_str!("../../../docs/moving-over.md");

on_mongodb! {
    the_lines_of_part_two_do_what_they_say,
}

/// The blocks of the part with their languages, in their order.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let part = &PAPER[PAPER.find("## Part two").unwrap()..];
    let mut pieces = part.split("```");
    let mut blocks = Vec::new();
    // Text and blocks take turns.
    while let (Some(_), Some(block)) = (pieces.next(), pieces.next()) {
        blocks.push(block.split_once('\n').unwrap());
    }
    blocks
}

/// The six documents that the paper tells of.
fn documents() -> Vec<Document> {
    let date = DateTime::from_millis(1_714_557_600_000);
    let key = |n: u8, word: &str, fields: Document| {
        let id = ObjectId::parse_str(format!("65a1b2c3d4e5f60718293a{n:02x}")).unwrap();
        let mut key = doc! {"_id": id, "api_key": format!("sk-example-{word}-{n:04}"), "is_active": true};
        key.extend(fields);
        key
    };
    vec![
        key(1, "first", doc! {"credits_left": 25.0, "last_checked": date}),
        key(2, "second", doc! {"credits_left": 24.3, "last_checked": date}),
        key(3, "third", doc! {"credits_left": 23.0, "usage_count": 2.0, "last_used": date}),
        key(4, "fourth", doc! {"credits_left": 24.3, "usage_count": 0.7, "last_used": date}),
        key(5, "fifth", doc! {"credits_left": 20.0, "usage_count": 1, "last_used": date}),
        key(6, "sixth", doc! {"credits_left": "unknown"}),
    ]
}

/// What stands between the outputs of two blocks.
const NEXT: &str = "=== the next block ===";

async fn the_lines_of_part_two_do_what_they_say(t: &Migration) {
    t.keys.insert_many(documents()).await.unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let programs = Path::new(env!("CARGO_BIN_EXE_keylend-migrate")).parent().unwrap();
    assert!(programs.join("keylend").exists(), "keylend is not built beside it: run cargo build --workspace first");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let blocks = blocks();
    let typed: Vec<&str> = blocks.iter().filter(|(language, _)| *language == "sh").map(|(_, text)| *text).collect();
    assert!(typed.len() > 8);
    // Whatever becomes of the lines, what they started is stopped.
    let lines =
        format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", typed.join(&format!("echo; echo '{NEXT}'\n")));
    let folder = tempfile::tempdir().unwrap();
    let uri = std::env::var("KEYLEND_TEST_MONGODB_URI").unwrap();
    let settings = format!(
        "MONGODB_URI=\"{uri}\"\nMONGODB_DATABASE={}\nFLASK_RUN_PORT={port}\nLOG_FILE=keylend.log\n",
        t.keys.namespace().db
    );
    std::fs::write(folder.path().join(".env"), settings).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &lines.replace("127.0.0.1:5000", &format!("127.0.0.1:{port}"))]);
    shell.current_dir(folder.path()).env_clear().env("PATH", path).stdin(Stdio::null());
    // Files, not pipes: a server that outlived the lines would keep a pipe open.
    let (out, err) = (folder.path().join("typed.out"), folder.path().join("typed.err"));
    shell.stdout(std::fs::File::create(&out).unwrap()).stderr(std::fs::File::create(&err).unwrap());
    let status = shell.status().unwrap();
    let (said, complained) = (std::fs::read_to_string(out).unwrap(), std::fs::read_to_string(err).unwrap());
    assert!(status.success(), "{status}: {said}\n{complained}");

    // A database has another name each time, and lines may end with the blanks of a table.
    let database = t.keys.namespace().db;
    let tidy = |text: &str| {
        let lines = text.trim_end().lines().map(|line| line.trim_end().replace(&database, "keylend"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let between = format!("{NEXT}\n");
    let mut outputs = said.split(between.as_str());
    let mut last = "";
    for (language, text) in &blocks {
        match *language {
            "sh" => last = outputs.next().unwrap(),
            "text" => assert_eq!(tidy(last), tidy(text)),
            other => panic!("a block of {other} is neither typed nor compared"),
        }
    }
}
