//! The program, started as an operator starts it, and the documents before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Output, Stdio};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{Collection, Database};
use serde_json::Value;
use tempfile::TempDir;

/// All documents by their id as text, each field as its bytes.
pub type Snapshot = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// A pool's documents, and the program for them.
pub struct Migration {
    pub keys: Collection<Document>,
    database: String,
    folder: TempDir,
}

impl Migration {
    /// Those of the stability pool.
    pub fn of(database: &Database) -> Self {
        let keys = database.collection("stability_api_keys");
        let folder = tempfile::tempdir().unwrap();
        Self { keys, database: database.name().to_owned(), folder }
    }

    /// The program with these arguments, in an empty working directory, with the settings of this database.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keylend-migrate"));
        command.current_dir(self.folder.path()).env_clear().args(arguments);
        command.env("MONGODB_URI", std::env::var("KEYLEND_TEST_MONGODB_URI").unwrap());
        command.env("MONGODB_DATABASE", &self.database);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs it with --json, and reads its summary. It must end with this code.
    #[track_caller]
    pub fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.output(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", told(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {}", told(&output)))
    }

    /// All documents, each field as its bytes.
    pub async fn snapshot(&self) -> Snapshot {
        let all: Vec<Document> = self.keys.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        let fields = |document: Document| document.into_iter().map(|(field, value)| (field, bytes(&value))).collect();
        all.into_iter().map(|document| (format!("{:?}", document.get("_id").unwrap()), fields(document))).collect()
    }
}

/// What a command said.
pub fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The fields that came, went or changed, of each document where there are any.
pub fn changed(before: &Snapshot, after: &Snapshot) -> BTreeMap<String, BTreeSet<String>> {
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "documents came or went");
    let fields = |id: &String| -> BTreeSet<String> {
        let (before, after) = (&before[id], &after[id]);
        let names = before.keys().chain(after.keys());
        names.filter(|field| before.get(*field) != after.get(*field)).cloned().collect()
    };
    before.keys().map(|id| (id.clone(), fields(id))).filter(|(_, fields)| !fields.is_empty()).collect()
}

/// A value as bytes: equal to another one only with the same type and the same order of fields.
pub fn bytes(value: &Bson) -> Vec<u8> {
    bson::serialize_to_vec(&doc! {"": value}).unwrap()
}
