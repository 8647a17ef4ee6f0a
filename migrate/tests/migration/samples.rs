//! Each step with its samples: a document before, and what it is after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bson::{Bson, Document};
use keylend_migrate::shape::{Shape, State};
use keylend_migrate::steps::Step;

use crate::database;
use crate::support::{Migration, bytes, told};

/// What stands in a sample for the instant of the run.
const NOW: &str = "now";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|_| panic!("there is no {}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The samples of a step: before and after.
fn samples(step: Step) -> Vec<(Document, Document)> {
    let folder = folder().join(step.as_str());
    let read = |name: &str, kind: &str| -> Document {
        let text = std::fs::read_to_string(folder.join(format!("{name}.{kind}.json"))).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}.{kind}.json: {error}"))
    };
    let names: BTreeSet<String> =
        names_in(&folder).iter().map(|file| file.split('.').next().unwrap().to_owned()).collect();
    names.iter().map(|name| (read(name, "before"), read(name, "after"))).collect()
}

#[test]
fn each_step_has_samples_and_each_sample_a_step() {
    let steps: BTreeSet<String> = Step::ALL.iter().map(|step| step.as_str().to_owned()).collect();
    assert_eq!(names_in(&folder()).into_iter().collect::<BTreeSet<_>>(), steps);
    for step in Step::ALL {
        let files: BTreeSet<String> = names_in(&folder().join(step.as_str())).into_iter().collect();
        assert!(!files.is_empty(), "{step:?} has no samples");
        for file in &files {
            let other = match file.strip_suffix(".before.json") {
                Some(name) => format!("{name}.after.json"),
                None => file.replace(".after.json", ".before.json"),
            };
            assert!(files.contains(&other) && other != *file, "{step:?}: {file} is alone");
        }
        for (before, after) in samples(step) {
            assert_ne!(before.get("_id"), None);
            assert_eq!(before.get("_id"), after.get("_id"));
        }
    }
}

/// What a run makes of a document is known before, without the server.
#[test]
fn what_a_run_makes_of_a_sample_is_told_before() {
    for step in [Step::Credits, Step::FractionalUsageCount, Step::LastUsed, Step::TakeLarger] {
        for (before, after) in samples(step) {
            let made = match Shape::of(&before).state() {
                State::Pending { formula: Some(formula), .. } if step == Step::TakeLarger => formula,
                State::Pending { keeping, .. } => keeping,
                State::Disagrees { by } => Shape::of(&before).count.whole().unwrap() + by,
                State::Done => Shape::of(&before).count.whole().unwrap(),
                State::Invalid(reasons) => panic!("{before}: {reasons:?}"),
            };
            let noted = matches!(Shape::of(&after).state(), State::Disagrees { .. });
            let may = step == Step::TakeLarger || matches!(Shape::of(&after).state(), State::Done) || noted;
            assert!(may, "{after}");
            assert_eq!(Shape::of(&after).count.whole(), Some(made), "{before}");
        }
    }
}

macro_rules! each_sample {
    ($($test:ident: $step:ident $arguments:expr),+ $(,)?) => {
        $(#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
        #[test]
        fn $test() {
            database::with_database(async |database| {
                holds(&Migration::of(database), Step::$step, &$arguments).await;
            });
        })+
    };
}

each_sample! {
    credits_become_counts: Credits [],
    fractions_are_rounded_up: FractionalUsageCount [],
    every_key_gets_a_last_used: LastUsed [],
    the_larger_is_taken: TakeLarger ["--take-larger"],
    all_of_it_is_taken_back: Undo ["--undo", "--yes"],
}

async fn holds(migration: &Migration, step: Step, arguments: &[&str]) {
    let samples = samples(step);
    migration.keys.insert_many(samples.iter().map(|(before, _)| before)).await.unwrap();
    let started = bson::DateTime::now().timestamp_millis();
    let output = migration.output(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let ended = bson::DateTime::now().timestamp_millis();
    for (before, expected) in &samples {
        let after = find(migration, before).await;
        // The server's clock is this machine's, or close to it.
        let is_now = |date: i64| (started - 60_000..ended + 60_000).contains(&date);
        assert_same(&after, expected, &is_now, &format!("{step:?} of {before}"));
    }
    // Nothing is left to do.
    let before = migration.snapshot().await;
    let output = migration.output(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(migration.snapshot().await, before, "{step:?} changes a document twice");
    if matches!(step, Step::Credits | Step::FractionalUsageCount | Step::LastUsed) {
        undoing_gives_it_back(migration, &samples).await;
    }
}

/// The documents are as they were before, but for what had been kept under `legacy` by an earlier run.
async fn undoing_gives_it_back(migration: &Migration, samples: &[(Document, Document)]) {
    let output = migration.output(&["--undo", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    for (before, _) in samples {
        let after = find(migration, before).await;
        if Shape::of(before).legacy == keylend_migrate::shape::Legacy::None {
            assert_same(&after, before, &|_| false, &format!("the undoing of {before}"));
        }
    }
    for (before, _) in samples {
        let pending = matches!(Shape::of(&find(migration, before).await).state(), State::Pending { .. });
        assert!(pending, "{before} is not pending after it was undone");
    }
}

async fn find(migration: &Migration, document: &Document) -> Document {
    let id = document.get("_id").unwrap();
    migration.keys.find_one(bson::doc! {"_id": id}).await.unwrap().unwrap()
}

/// Asserts that two documents have the same fields with the same values of the same types; in which order they stand
/// is the server's.
fn assert_same(found: &Document, expected: &Document, is_now: &dyn Fn(i64) -> bool, what: &str) {
    let names = |document: &Document| document.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(found), names(expected), "{what}: {found}");
    for (name, expected) in expected {
        let value = found.get(name).unwrap();
        match (value, expected) {
            (Bson::Document(value), Bson::Document(expected)) => assert_same(value, expected, is_now, what),
            (Bson::DateTime(date), Bson::String(text)) if text == NOW => {
                assert!(is_now(date.timestamp_millis()), "{what}: {name} is {date}");
            }
            _ => assert_eq!(bytes(value), bytes(expected), "{what}: {name} is {value:?}"),
        }
    }
}

/// Samples with the same name in two steps would be one document.
#[test]
fn each_sample_is_about_one_document() {
    let mut seen = BTreeMap::new();
    for step in Step::ALL {
        for (before, _) in samples(step) {
            let name = (step.as_str(), before.get("_id").unwrap().to_string());
            assert!(seen.insert(name.clone(), ()).is_none(), "{name:?} is there twice");
        }
    }
}
