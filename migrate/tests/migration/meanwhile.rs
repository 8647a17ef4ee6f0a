//! Several at once, and signals.

use std::process::Child;
use std::time::{Duration, Instant};

use bson::doc;
use keylend_migrate::pages::PAGE;
use serde_json::Value;

use super::commands::on_mongodb;
use crate::support::{Migration, told};

on_mongodb! {
    two_runs_at_once_end_as_one,
    a_run_and_an_undo_at_once_leave_each_key_whole,
    counts_made_while_it_runs_are_kept,
    a_signal_stops_it_and_the_next_run_goes_on,
}

/// Enough documents for several pages at once.
const KEYS: usize = 5 * PAGE;

async fn fill(t: &Migration) {
    let keys = (0..KEYS).map(|n| doc! {"api_key": format!("sk-{n}"), "credits_left": 24.5, "is_active": true});
    let keys: Vec<_> = keys.collect();
    for some in keys.chunks(PAGE) {
        t.keys.insert_many(some).await.unwrap();
    }
}

#[track_caller]
fn summary(child: Child) -> Value {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn two_runs_at_once_end_as_one(t: &Migration) {
    fill(t).await;
    let runs = [t.start(&["--json"]), t.start(&["--json"])].map(summary);
    let sum = |member: &str| runs.iter().map(|run| run[member].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("migrated"), sum("left"), sum("total")), (KEYS as u64, 0, 2 * KEYS as u64));
    assert_eq!(sum("already_done"), KEYS as u64);
    let after = t.snapshot().await;
    assert_eq!(t.json(0, &["--verify"])["right"], KEYS);
    assert_eq!(t.json(0, &[])["migrated"], 0);
    assert_eq!(t.snapshot().await, after);
}

async fn a_run_and_an_undo_at_once_leave_each_key_whole(t: &Migration) {
    fill(t).await;
    let before = t.snapshot().await;
    t.json(0, &[]);
    for _ in 0..3 {
        let both = [t.start(&["--undo", "--yes", "--json"]), t.start(&["--json"])];
        for child in both {
            let output = child.wait_with_output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{}", told(&output));
        }
        // Each key is what the one or the other left.
        let right = doc! {"$or": [
            {"usage_count": 1, "legacy.credits_left": 24.5, "credits_left": {"$exists": false}},
            {"usage_count": {"$exists": false}, "legacy": {"$exists": false}, "credits_left": 24.5},
        ]};
        assert_eq!(t.keys.count_documents(right).await.unwrap(), KEYS as u64);
    }
    t.json(0, &["--undo", "--yes"]);
    assert_eq!(crate::support::changed(&before, &t.snapshot().await).len(), 0);
}

async fn counts_made_while_it_runs_are_kept(t: &Migration) {
    fill(t).await;
    // The last of them, so that they are counted before, while and after they are migrated.
    let all: Vec<String> = (0..KEYS).rev().step_by(97).map(|n| format!("sk-{n}")).collect();
    t.keys.update_many(doc! {"api_key": {"$in": &all}}, doc! {"$set": {"usage_count": 0}}).await.unwrap();
    let mut run = t.start(&["--json"]);
    let mut rounds = 0;
    while rounds == 0 || run.try_wait().unwrap().is_none() {
        for key in &all {
            let counted = t.keys.update_one(doc! {"api_key": key}, doc! {"$inc": {"usage_count": 1}}).await.unwrap();
            assert_eq!(counted.modified_count, 1);
        }
        rounds += 1;
    }
    // The count was below the formula where it was met before the first round.
    summary(run);
    let kept = doc! {"api_key": {"$in": &all}, "usage_count": rounds};
    assert_eq!(t.keys.count_documents(kept).await.unwrap(), all.len() as u64, "after {rounds} rounds");
}

async fn a_signal_stops_it_and_the_next_run_goes_on(t: &Migration) {
    fill(t).await;
    let mut migrated = 0;
    let mut stopped = 0;
    for signal in ["TERM", "INT"] {
        let run = t.start(&["--json"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        // It has begun.
        while t.keys.count_documents(doc! {"legacy": {"$exists": true}}).await.unwrap() <= migrated {
            assert!(Instant::now() < deadline, "nothing is migrated");
        }
        // It may have ended by now.
        let _ = std::process::Command::new("kill").args(["-s", signal, &run.id().to_string()]).output().unwrap();
        let output = run.wait_with_output().unwrap();
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        match output.status.code() {
            Some(2) => {
                stopped += 1;
                assert!(told(&output).contains("run it again to go on"), "{}", told(&output));
                assert_eq!(summary["stopped_by"], format!("SIG{signal}"));
            }
            other => assert_eq!(other, Some(0), "{}", told(&output)),
        }
        // What it tells is what it did.
        migrated += summary["migrated"].as_u64().unwrap();
        assert_eq!(t.keys.count_documents(doc! {"legacy": {"$exists": true}}).await.unwrap(), migrated);
        if migrated == KEYS as u64 {
            break;
        }
    }
    assert!(stopped > 0, "it was always done before it could be stopped");
    assert_eq!(t.json(0, &[])["migrated"], KEYS as u64 - migrated);
    assert_eq!(t.json(0, &["--verify"])["right"], KEYS);
}
