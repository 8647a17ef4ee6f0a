//! Copies of the embedded store, and files that cannot be it.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{PATIENCE, Program, keylend, output};

const KEY: &str = "sk-0123456789abcdef";

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    output(keylend(folder, &[], arguments), "")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn count(folder: &TempDir, file: &str) -> u64 {
    let listed = run(folder, &["--data", file, "keys", "list", "--json"]);
    let first: Value = serde_json::from_slice(&listed.stdout).unwrap();
    first["usage_count"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_beside_a_running_server_and_is_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    output(keylend(&folder, &[], &["keys", "add"]), KEY);
    let server = Program::serve(keylend(&folder, &[], &[]));
    let (counted, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let counting = tokio::spawn({
        let (counted, done, url) = (Arc::clone(&counted), Arc::clone(&done), server.url.clone());
        async move {
            let client = reqwest::Client::new();
            while !done.load(Ordering::Relaxed) {
                let request = client.post(format!("{url}/v1/pools/stability/increment_usage"));
                let answer = request.json(&json!({"api_key": KEY})).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    tokio::task::block_in_place(|| {
        for n in 0..5 {
            let name = format!("copy-{n}.db");
            let before = counted.load(Ordering::SeqCst);
            let made = run(&folder, &["backup", &name]);
            assert_eq!(made.status.code(), Some(0), "{made:?}");
            // One more may be counted and not be told of yet.
            let after = counted.load(Ordering::SeqCst) + 1;
            let copied = count(&folder, &name);
            assert!((before..=after).contains(&copied), "{before} {copied} {after}");
        }
    });
    done.store(true, Ordering::Relaxed);
    counting.await.unwrap();
    let mode = fs::metadata(folder.path().join("copy-0.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<String> = names(folder.path()).into_iter().filter(|name| name.contains("backup")).collect();
    assert_eq!(names, [""; 0], "something is left of the making");
    let json: Value = serde_json::from_slice(&run(&folder, &["backup", "last.db", "--json"]).stdout).unwrap();
    assert_eq!(json["bytes"], fs::metadata(folder.path().join("last.db")).unwrap().len());
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_cannot_be_copied_leaves_everything_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], code: i32, why: &str| {
        let before = names(folder.path());
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(told(&output).contains(why), "{output:?}");
        assert_eq!(names(folder.path()), before);
    };
    refused(&["backup", "copy.db"], 2, "KEYLEND_DATA");
    let uri = "mongodb://127.0.0.1:1/";
    refused(&["--mongodb-uri", uri, "backup", "copy.db"], 64, "mongodump");
    output(keylend(&folder, &[], &["keys", "add"]), KEY);
    fs::write(folder.path().join("diary"), "my diary\n").unwrap();
    refused(&["backup", "diary"], 2, "diary is there already");
    assert_eq!(fs::read(folder.path().join("diary")).unwrap(), b"my diary\n");
    refused(&["backup", "no/such/folder.db"], 2, "folder.db cannot be made");
    fs::write(folder.path().join("foreign.db"), "my diary\n".repeat(500)).unwrap();
    refused(&["--data", "foreign.db", "backup", "copy.db"], 2, "no SQLite file");
    fs::write(folder.path().join("empty.db"), "").unwrap();
    refused(&["--data", "empty.db", "backup", "copy.db"], 2, "another program's");
}

#[test]
fn a_file_of_another_version_is_refused_and_left_as_it_is() {
    for (version, why) in [(1, "an older version"), (3, "a newer version")] {
        let folder = tempfile::tempdir().unwrap();
        output(keylend(&folder, &[], &["keys", "add"]), KEY);
        let path = folder.path().join("keylend.db");
        rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        let before = fs::read(&path).unwrap();
        for arguments in [&["serve"][..], &["keys", "list"], &["backup", "copy.db"]] {
            let output = run(&folder, arguments);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(told(&output).contains(why), "{output:?}");
            assert!(told(&output).contains("KEYLEND_DATA"), "{output:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_in_the_middle_is_told_of_and_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let keys: String = (0..5000).map(|n| format!("sk-damaged-{n:08}\n")).collect();
    assert!(output(keylend(&folder, &[], &["keys", "add", "-"]), &keys).status.success());
    let path = folder.path().join("keylend.db");
    let size = fs::metadata(&path).unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    // All pages but the first ones, which hold what is where.
    file.seek(SeekFrom::Start(64 * 1024)).unwrap();
    file.write_all(&vec![0xa5; (size - 64 * 1024) as usize]).unwrap();
    drop(file);

    let copied = run(&folder, &["backup", "copy.db"]);
    assert_eq!(copied.status.code(), Some(2), "{copied:?}");
    assert!(told(&copied).contains("is damaged"), "{copied:?}");
    assert_eq!(names(folder.path()).iter().filter(|name| name.contains("copy") || name.contains("backup")).count(), 0);

    let listed = run(&folder, &["keys", "list"]);
    assert_eq!(listed.status.code(), Some(2), "{listed:?}");
    assert!(told(&listed).contains("is damaged"), "{listed:?}");
}

/// Killed in the middle of whatever it writes, again and again, and never harmed; nothing that was answered is lost.
#[tokio::test(flavor = "multi_thread")]
async fn killed_two_hundred_times_the_file_stays_whole() {
    const KILLS: u32 = 200;
    const CALLERS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let keys: String = (0..CALLERS).map(|n| format!("sk-killed-{n:08}\n")).collect();
    assert!(output(keylend(&folder, &[], &["keys", "add", "-"]), &keys).status.success());
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    // Of each caller's own key: what was answered, and what was asked for and not answered.
    let counted: Vec<(AtomicU64, AtomicU64)> = (0..CALLERS).map(|_| Default::default()).collect();
    let added = AtomicU64::new(0);
    for kill in 0..KILLS {
        let server = Program::serve(keylend(&folder, &[], &[]));
        let url = server.url.clone();
        let counting = futures_util::future::join_all(counted.iter().enumerate().map(async |(n, (answered, lost))| {
            loop {
                let request = client.post(format!("{url}/v1/pools/stability/increment_usage"));
                let answer = request.json(&json!({"api_key": format!("sk-killed-{n:08}")})).send().await;
                match answer {
                    Ok(answer) if answer.status() == 200 => _ = answered.fetch_add(1, Ordering::Relaxed),
                    _ => {
                        lost.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            }
        }));
        let adding = async {
            for n in 0..4 {
                let keys: Vec<String> = (0..20).map(|m| format!("sk-added-{kill:04}-{n:04}-{m:04}")).collect();
                let request = client.post(format!("{url}/v1/pools/stability/keys"));
                let answer = request.json(&json!({"api_keys": keys})).send().await;
                let is_done = answer.is_ok_and(|answer| answer.status() == 200);
                if !is_done {
                    return;
                }
                added.fetch_add(20, Ordering::Relaxed);
            }
        };
        let killing = async {
            let answers = || counted.iter().map(|(answered, _)| answered.load(Ordering::Relaxed)).sum::<u64>();
            // After another number of answers each time, in the middle of those that follow.
            let enough = answers() + 2 * CALLERS as u64 + u64::from(kill) * 7 % 50;
            let asked_at = Instant::now();
            while answers() < enough {
                assert!(asked_at.elapsed() < PATIENCE, "it does not answer");
                tokio::task::yield_now().await;
            }
            server.signal("KILL");
        };
        tokio::join!(counting, adding, killing);
        server.ended();
        let file = rusqlite::Connection::open(folder.path().join("keylend.db")).unwrap();
        let found: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(found, "ok", "after {kill} kills");
    }
    let file = rusqlite::Connection::open(folder.path().join("keylend.db")).unwrap();
    for (n, (answered, lost)) in counted.iter().enumerate() {
        let (answered, lost) = (answered.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
        let select = "SELECT usage_count FROM stability_api_keys WHERE api_key = ?1";
        let count: u64 = file.query_row(select, [format!("sk-killed-{n:08}")], |row| row.get(0)).unwrap();
        assert!((answered..=answered + lost).contains(&count), "{answered} {count} {lost}");
        assert!(answered > u64::from(KILLS), "the kills came before the work");
    }
    let select = "SELECT count(*) FROM stability_api_keys WHERE api_key GLOB 'sk-added-*'";
    let there: u64 = file.query_row(select, [], |row| row.get(0)).unwrap();
    let added = added.load(Ordering::Relaxed);
    assert!((added..=added + 20 * u64::from(KILLS)).contains(&there), "{added} {there}");
}
