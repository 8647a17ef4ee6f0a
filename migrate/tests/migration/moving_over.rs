//! Part two of the paper on moving over, typed with keylend serving beside it.

use std::path::Path;

use bson::{DateTime, Document, doc, oid::ObjectId};

use super::commands::on_mongodb;
use crate::support::Migration;
use crate::typed::{self, Desk};

const PAPER: &str = include_str!("../../../docs/moving-over.md");

on_mongodb! {
    the_lines_of_part_two_do_what_they_say,
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

async fn the_lines_of_part_two_do_what_they_say(t: &Migration) {
    t.keys.insert_many(documents()).await.unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let programs = Path::new(env!("CARGO_BIN_EXE_keylend-migrate")).parent().unwrap();
    assert!(programs.join("keylend").exists(), "keylend is not built beside it: run cargo build --workspace first");
    let folder = tempfile::tempdir().unwrap();
    let uri = std::env::var("KEYLEND_TEST_MONGODB_URI").unwrap();
    let settings = format!(
        "MONGODB_URI=\"{uri}\"\nMONGODB_DATABASE={}\nFLASK_RUN_PORT={port}\nLOG_FILE=keylend.log\n",
        t.keys.namespace().db
    );
    std::fs::write(folder.path().join(".env"), settings).unwrap();
    // A database has another name each time, and lines may end with the blanks of a table.
    let database = t.keys.namespace().db;
    let tidy = |text: &str| {
        let lines = text.trim_end().lines().map(|line| line.trim_end().replace(&database, "keylend"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let in_place_of = [("127.0.0.1:5000", format!("127.0.0.1:{port}"))];
    let desk = Desk {
        paper: "docs/moving-over.md",
        folder: folder.path(),
        programs: &[programs],
        environment: &[],
        in_place_of: &in_place_of,
    };
    desk.type_lines(&typed::part(PAPER, "## Part two"), typed::is_typed, tidy);
}
