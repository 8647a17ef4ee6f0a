//! Key files as a user of the program meets them.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::folder::{policy, until};
use crate::place::Place;
use crate::program_under_test::{Program, keylend, output, tells};

on_both_stores!(
    an_old_folder_is_taken_over,
    a_line_appended_is_lent_and_one_removed_is_not,
    what_is_wrong_is_told_once_with_its_file_and_line,
    two_programs_follow_the_same_files,
    what_is_not_taken_from_the_files_is_told,
    one_that_is_stopped_before_its_first_look_does_not_say_that_it_serves,
);

/// The secret that `find_usable_key` answers; None where the pool has none.
async fn find(program: &Program, pool: &str) -> Option<String> {
    let url = format!("{}/v1/pools/{pool}/find_usable_key", program.url);
    let answer = reqwest::Client::new().post(url).send().await.unwrap();
    let found = answer.json::<Value>().await.unwrap();
    found["api_key"].as_str().map(str::to_owned)
}

fn json_log(mut settings: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    settings.push(("KEYLEND_LOG_FORMAT", "json".to_owned()));
    settings
}

/// The lines of the log that tell an event of a pool.
fn told(log: &str, event: &str, pool: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| tells(line, event)).map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["pool"] == pool).collect()
}

fn write(folder: &TempDir, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).unwrap();
}

async fn an_old_folder_is_taken_over(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "plantid.txt", "plant-0123456789abcdef\nplant-1\nplant-2\n");
    write(&folder, "healthid.txt", "health-0123456789abcdef\r\nbad line\r\n");
    write(&folder, "api_state.json", r#"{"plantid": 98, "healthid": 0}"#);
    let settings = json_log(place.settings());
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let log = program.log();
    let started: Value =
        log.lines().find(|line| tells(line, "started")).map(|line| serde_json::from_str(line).unwrap()).unwrap();
    assert_eq!(started["usable"], "stability 0, plantid 3, healthid 1");
    let read = told(&log, "key_file_read", "plantid");
    assert_eq!((read.len(), &read[0]["path"]), (1, &json!("plantid.txt")));
    assert_eq!(
        (&read[0]["added"], &read[0]["known"], &read[0]["invalid"], &read[0]["removed"]),
        (&json!(3), &json!(0), &json!(0), &json!(0))
    );
    assert_eq!(told(&log, "key_file_read", "healthid")[0]["invalid"], 1);
    let taken_over = told(&log, "state_taken_over", "plantid");
    assert_eq!((taken_over.len(), &taken_over[0]["usage_count"]), (1, &json!(98)));
    assert_eq!((&taken_over[0]["path"], log.contains("0123456789")), (&json!("api_state.json"), false), "{log}");
    assert_eq!(find(&program, "plantid").await.as_deref(), Some("plant-0123456789abcdef"));
    assert_eq!(find(&program, "healthid").await.as_deref(), Some("health-0123456789abcdef"));
    program.terminate();
    // What is left on the first key is what the older server had left, and the next start changes nothing.
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let log = program.log();
    assert_eq!(told(&log, "state_taken_over", "plantid").len(), 0, "{log}");
    assert_eq!(told(&log, "key_file_read", "plantid")[0]["known"], 3, "{log}");
    let stats = reqwest::get(format!("{}/v1/pools/plantid/stats", program.url)).await.unwrap();
    let stats: Value = stats.json().await.unwrap();
    assert_eq!((&stats["uses"]["counted"], &stats["uses"]["left"]), (&json!(98), &json!(202)));
    assert_eq!(std::fs::read_to_string(folder.path().join("plantid.txt")).unwrap().lines().count(), 3);
}

async fn a_line_appended_is_lent_and_one_removed_is_not(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = place.settings();
    settings.push(("PLANTID_FILE", folder.path().join("mine.txt").display().to_string()));
    let program = Program::serve(keylend(&folder, &settings, &[]));
    assert_eq!(find(&program, "plantid").await, None);
    write(&folder, "mine.txt", "plant-1\n");
    until("the first line is lent", async || find(&program, "plantid").await.as_deref() == Some("plant-1")).await;
    write(&folder, "mine.txt", "plant-2\n");
    until("the second line is lent", async || find(&program, "plantid").await.as_deref() == Some("plant-2")).await;
    let listed = output(
        keylend(&folder, &settings, &["keys", "list", "--pool", "plantid", "--state", "disabled", "--json"]),
        "",
    );
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["disabled_reason"], "removed_from_file");
    assert!(program.terminate().0.success());
}

async fn what_is_wrong_is_told_once_with_its_file_and_line(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "plantid.txt", &format!("hush-1\n\nhush hush\n{}\n", "hush".repeat(3_000_000)));
    write(&folder, "api_state.json", "{\"plantid\": 3,\n");
    let mut settings = place.settings();
    settings.push(("HEALTHID_FILE", "missing.txt".to_owned()));
    let mut program = Program::serve(keylend(&folder, &settings, &[]));
    let expected = [
        "line 3 has a character that is not visible ASCII",
        "line 4 is longer than 4096 characters",
        "the state file: line 2: it is no JSON",
        "the key file: there is no such file",
    ];
    program.wait_for(|log| expected.iter().all(|fault| log.contains(fault)).then_some(()));
    // Another problem with another file, told after more looks at the first.
    write(&folder, "missing.txt", "");
    program.wait_for(|log| log.contains("there is no line in it").then_some(()));
    std::fs::remove_file(folder.path().join("missing.txt")).unwrap();
    program.wait_for(|log| (log.matches("there is no such file").count() == 2).then_some(()));
    assert_eq!(find(&program, "plantid").await.as_deref(), Some("hush-1"));
    let (status, log) = program.terminate();
    assert!(status.success() && !log.contains("hush"), "{log}");
    for (fault, times) in expected.iter().zip([1, 1, 1, 2]) {
        assert_eq!(log.matches(fault).count(), times, "{fault}: {log}");
    }
    assert!(log.lines().all(|line| !line.contains("the key file:") || line.contains("path=")), "{log}");
}

async fn two_programs_follow_the_same_files(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "plantid.txt", "plant-1\nplant-2\n");
    write(&folder, "api_state.json", r#"{"plantid": 99}"#);
    let settings = json_log(place.settings());
    let programs = [0, 1].map(|_| Program::serve(keylend(&folder, &settings, &[])));
    let found: Vec<Option<String>> = [find(&programs[0], "plantid").await, find(&programs[1], "plantid").await].into();
    assert_eq!(found, [Some("plant-1".to_owned()), Some("plant-1".to_owned())]);
    let taken_over: usize =
        programs.iter().map(|program| told(&program.log(), "state_taken_over", "plantid").len()).sum();
    assert_eq!(taken_over, 1);
    write(&folder, "plantid.txt", "plant-3\n");
    for program in &programs {
        until("the new line is lent", async || find(program, "plantid").await.as_deref() == Some("plant-3")).await;
    }
    for program in programs {
        assert!(program.terminate().0.success());
    }
}

async fn what_is_not_taken_from_the_files_is_told(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "plantid.txt", "plant-1\nplant-2\n");
    write(&folder, "api_state.json", r#"{"plantid": 37}"#);
    let settings = json_log(place.settings());
    let used = r#"{"pool": "plantid", "api_key": "plant-1", "usage_count": 5}"#;
    let imported = output(keylend(&folder, &settings, &["keys", "import", "--pool", "plantid", "-"]), used);
    assert!(imported.status.success(), "{imported:?}");
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let log = program.log();
    assert!(log.contains("its counter is not taken") && !log.contains("are left out"), "{log}");
    assert!(told(&log, "state_taken_over", "plantid").is_empty(), "{log}");
    let removed = ["keys", "remove", "--pool", "plantid", "--yes", "--secret", "-"];
    let removed = output(keylend(&folder, &settings, &removed), "plant-2");
    assert!(removed.status.success(), "{removed:?}");
    program.terminate();
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let log = program.log();
    assert!(log.contains("1 of its lines are left out") && !log.contains("its counter is not taken"), "{log}");
    program.terminate();
}

async fn one_that_is_stopped_before_its_first_look_does_not_say_that_it_serves(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "plantid.txt", "plant-1\nno key\n");
    // Another instance has the file.
    let store = place.store().await;
    store.prepare(&policy()).await.unwrap();
    assert!(store.lock("files:plantid", "other", Duration::from_secs(300)).await.unwrap());
    let mut program = Program::start(keylend(&folder, &json_log(place.settings()), &[]), "settings_read");
    program.wait_for(|log| log.contains("line 2").then_some(()));
    let (status, log) = program.terminate();
    assert!(status.success() && tells_any(&log, "stopped") && !tells_any(&log, "started"), "{log}");
}

fn tells_any(log: &str, event: &str) -> bool {
    log.lines().any(|line| tells(line, event))
}
