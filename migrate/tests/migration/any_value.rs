//! Any BSON in any field is judged, by the server as by the program, is never an error, and comes back when it is undone.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc, oid::ObjectId};
use futures_util::TryStreamExt;
use keylend_migrate::shape::{Legacy, Shape, State};
use keylend_migrate::steps::{self, Change};
use mongodb::Database;

use crate::database;
use crate::every_value::every_value;
use crate::support::{Migration, Snapshot, changed};

/// Makes a test of the fields in which every value is planted, each a path of the document.
macro_rules! every_value_in {
    ($($test:ident: $($fields:literal)+),+ $(,)?) => {
        $(#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
        #[test]
        fn $test() {
            database::with_database(async |database| {
                Planting::new(database, &[$($fields),+]).await.holds().await;
            });
        })+
    };
}

every_value_in! {
    any_id_is_borne: "_id",
    any_api_key_is_borne: "api_key",
    any_credits_are_borne: "credits_left",
    any_count_is_borne: "usage_count",
    any_date_is_borne: "last_used" "last_checked",
    any_legacy_is_borne: "legacy",
    any_base_is_borne: "legacy.base",
    any_count_of_a_base_is_borne: "legacy.base.usage_count",
    any_since_is_borne: "legacy.since",
    any_count_since_is_borne: "legacy.since.usage_count",
    any_date_since_is_borne: "legacy.since.last_used",
    any_credits_that_were_put_away_are_borne: "legacy.credits_left",
    any_count_that_was_put_away_is_borne: "legacy.usage_count",
    any_formula_is_borne: "legacy.formula",
    any_value_of_a_field_of_others_is_borne: "extra" "leases" "is_active" "resting_until" "note",
}

struct Planting {
    migration: Migration,
    fields: &'static [&'static str],
}

impl Planting {
    async fn new(database: &Database, fields: &'static [&'static str]) -> Self {
        let migration = Migration::of(database);
        let mut all = Vec::new();
        for (n, value) in every_value().into_iter().enumerate() {
            for mut document in documents(n, fields[0]) {
                for field in fields {
                    plant(&mut document, field, value.clone());
                }
                all.push(document);
            }
        }
        let inserted = migration.keys.insert_many(&all).ordered(false).await;
        // A server has its own mind about what can be an id; and each id is there once.
        assert!(inserted.is_ok() || fields == ["_id"], "{inserted:?}");
        Self { migration, fields }
    }

    async fn holds(&self) {
        self.server_and_program_agree().await;
        self.a_dry_run_changes_nothing().await;
        self.a_run_changes_what_is_pending().await;
        self.what_was_changed_is_right().await;
        self.undoing_gives_it_back().await;
        self.larger_counts_are_taken().await;
        self.counts_are_reset().await;
    }

    fn code(&self, summary_of_invalid: u64) -> i32 {
        i32::from(summary_of_invalid > 0)
    }

    /// The guards match exactly the documents that the program takes for due. That a secret is one is judged when it is
    /// read and again in the guard.
    async fn server_and_program_agree(&self) {
        let is_pending = |shape: &Shape| matches!(shape.state(), State::Pending { .. });
        let disagrees = |shape: &Shape| matches!(shape.state(), State::Disagrees { .. });
        let is_migrated = |shape: &Shape| matches!(shape.legacy, Legacy::Migrated(_));
        self.agree_on(&steps::migrate(false), &is_pending).await;
        self.agree_on(&steps::migrate(true), &is_pending).await;
        self.agree_on(&steps::take_larger(), &disagrees).await;
        self.agree_on(&steps::undo(), &is_migrated).await;
    }

    async fn agree_on(&self, change: &Change, program: &dyn Fn(&Shape) -> bool) {
        let ids = |documents: Vec<Document>| {
            let mut ids: Vec<String> = documents.iter().map(|key| format!("{:?}", key.get("_id").unwrap())).collect();
            ids.sort();
            ids
        };
        let filter = doc! {"$expr": change.guard.clone()};
        let matched: Vec<Document> = self.migration.keys.find(filter).await.unwrap().try_collect().await.unwrap();
        let all: Vec<Document> = self.migration.keys.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        let due = all.into_iter().filter(|document| program(&Shape::of(document))).collect();
        assert_eq!(ids(matched), ids(due), "{:?}", self.fields);
    }

    async fn shapes(&self) -> BTreeMap<String, Shape> {
        let all: Vec<Document> = self.migration.keys.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        all.iter().map(|key| (format!("{:?}", key.get("_id").unwrap()), Shape::of(key))).collect()
    }

    async fn a_dry_run_changes_nothing(&self) {
        let before = self.migration.snapshot().await;
        let output = self.migration.output(&["--dry-run", "--json"]);
        assert!(matches!(output.status.code(), Some(0 | 1)));
        assert_eq!(self.migration.snapshot().await, before);
    }

    async fn a_run_changes_what_is_pending(&self) {
        let (shapes, before) = (self.shapes().await, self.migration.snapshot().await);
        let states: BTreeMap<&String, State> = shapes.iter().map(|(id, shape)| (id, shape.state())).collect();
        let number = |wanted: fn(&State) -> bool| states.values().filter(|state| wanted(state)).count() as u64;
        let pending = number(|state| matches!(state, State::Pending { .. }));
        let invalid = number(|state| matches!(state, State::Invalid(_)));
        let told = self.migration.json(self.code(invalid), &["--dry-run"]);
        let summary = self.migration.json(self.code(invalid), &[]);
        for member in ["total", "migrated", "already_done", "disagree", "invalid", "left", "before", "after"] {
            assert_eq!(told[member], summary[member], "{:?}: {member}", self.fields);
        }
        assert_eq!(summary["total"], shapes.len());
        assert_eq!(
            (&summary["migrated"], &summary["invalid"]),
            (&pending.into(), &invalid.into()),
            "{:?}",
            self.fields
        );
        assert_eq!(summary["invalid_keys"].as_array().unwrap().len() as u64, invalid);
        assert!(!summary.to_string().contains("sk-planted"), "{summary}");

        let after = self.migration.snapshot().await;
        let changed = changed(&before, &after);
        let expected: Vec<&String> = shapes.keys().filter(|id| is_pending(&states[id])).collect();
        assert_eq!(changed.keys().collect::<Vec<_>>(), expected, "{:?}", self.fields);
        let ours = ["usage_count", "last_used", "legacy", "credits_left", "last_checked"];
        for (id, fields) in &changed {
            assert!(fields.iter().all(|field| ours.contains(&field.as_str())), "{id}: {fields:?}");
            let State::Pending { keeping, .. } = states[id] else { unreachable!() };
            assert_eq!(self.shapes().await[id].count.whole(), Some(keeping), "{id} with {:?} planted", self.fields);
        }
        // The same again finds nothing to do.
        self.migration.json(self.code(invalid), &[]);
        assert_eq!(self.migration.snapshot().await, after, "{:?}", self.fields);
        self.server_and_program_agree().await;
        // Undone, they are as they were; but what an earlier run had put away was planted, and is no document of ours.
        if !self.fields[0].starts_with("legacy.") {
            self.migration.json(0, &["--undo", "--yes"]);
            let undone = self.migration.snapshot().await;
            for (id, fields) in crate::support::changed(&before, &undone) {
                assert!(matches!(shapes[&id].legacy, Legacy::Migrated(_) | Legacy::Undone(_)), "{id}: {fields:?}");
            }
            self.migration.json(self.code(invalid), &[]);
        }
    }

    async fn what_was_changed_is_right(&self) {
        let output = self.migration.output(&["--verify", "--json"]);
        let verified: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verified["not_migrated"], 0, "{:?}: {verified}", self.fields);
        if !self.fields[0].starts_with("legacy") {
            assert_eq!((&verified["wrong"], &verified["lowered"]), (&0.into(), &0.into()), "{verified}");
        }
    }

    async fn undoing_gives_it_back(&self) {
        let before: Snapshot = self.migration.snapshot().await;
        let due = self.shapes().await.values().filter(|key| matches!(key.legacy, Legacy::Migrated(_))).count();
        let undone = self.migration.json(0, &["--undo", "--yes"]);
        assert_eq!((&undone["undone"], &undone["left"]), (&due.into(), &0.into()), "{:?}", self.fields);
        assert_eq!(changed(&before, &self.migration.snapshot().await).len(), due);
        self.server_and_program_agree().await;
    }

    async fn larger_counts_are_taken(&self) {
        let invalid = self.shapes().await.values().filter(|key| matches!(key.state(), State::Invalid(_))).count();
        for arguments in [&[][..], &["--take-larger"], &["--take-larger"]] {
            self.migration.json(self.code(invalid as u64), arguments);
        }
        let left = self.shapes().await;
        assert!(left.values().all(|key| matches!(key.state(), State::Done | State::Invalid(_))), "{:?}", self.fields);
    }

    /// keylend knows no key without an ObjectId.
    async fn counts_are_reset(&self) {
        if self.fields == ["_id"] {
            return;
        }
        let all = self.shapes().await.len();
        assert_eq!(self.migration.json(0, &["--reset-usage", "--yes"])["reset"], all, "{:?}", self.fields);
        assert_eq!(self.migration.keys.count_documents(doc! {"usage_count": 0}).await.unwrap(), all as u64);
    }
}

fn is_pending(state: &State) -> bool {
    matches!(state, State::Pending { .. })
}

/// Documents in which a value is planted: one of every kind for which the field matters.
fn documents(n: usize, field: &str) -> Vec<Document> {
    let date = bson::DateTime::from_millis(1_717_236_000_000);
    let of = |kind: &str, fields: Document| {
        let mut document =
            doc! {"_id": ObjectId::new(), "api_key": format!("sk-planted-{kind}-{n}"), "is_active": true};
        document.extend(fields);
        document
    };
    let kept = doc! {"credits_left": 20.5, "usage_count": 1, "last_used": date, "base": {"usage_count": 1_i64, "last_used": date}, "formula": 5_i64};
    let migrated = of("migrated", doc! {"usage_count": 3_i64, "last_used": date, "legacy": kept});
    let undone =
        of("undone", doc! {"credits_left": 20.5, "legacy": {"since": {"usage_count": 2_i64, "last_used": date}}});
    let pending = of("pending", doc! {"credits_left": 20.5, "last_checked": date});
    let counted = of("counted", doc! {"credits_left": 20.5, "usage_count": 2});
    match field {
        "_id" => vec![pending],
        path if path.starts_with("legacy.since") => vec![undone],
        path if path.starts_with("legacy.") => {
            let mut again = migrated.clone();
            again.extend(
                doc! {"_id": ObjectId::new(), "api_key": format!("sk-planted-again-{n}"), "last_checked": date},
            );
            vec![migrated, again]
        }
        _ => vec![pending, counted, migrated, undone],
    }
}

fn plant(document: &mut Document, path: &str, value: Option<Bson>) {
    match path.split_once('.') {
        Some((field, rest)) => plant(document.get_document_mut(field).unwrap(), rest, value),
        None => match value {
            Some(value) => _ = document.insert(path, value),
            None => _ = document.remove(path),
        },
    }
}
