//! The contract's tables, row by row: what is promised, and which test shows it. What the program has and no row
//! names, and a row whose test is gone, are red here.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod codes;
mod events;
mod routes;
mod settings;
mod states;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A row of a table, and the tests that show it, as `file.rs::function` under `tests/` or `src/`.
pub type Row = (&'static str, &'static [&'static str]);

/// Asserts that the table names each of these and nothing else, and that its tests are there.
#[track_caller]
pub fn holds<'a>(table: &[Row], there_are: impl IntoIterator<Item = &'a str>) {
    let named: BTreeSet<&str> = table.iter().map(|(row, _)| *row).collect();
    assert_eq!(named.len(), table.len(), "a row is there twice");
    assert_eq!(named, there_are.into_iter().collect::<BTreeSet<&str>>());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (row, tests) in table {
        assert!(!tests.is_empty(), "{row} has no test");
        for test in *tests {
            let (file, function) = test.split_once("::").expect("file.rs::function");
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("{row}: there is no {file}"));
            assert!(text.contains(&format!("fn {function}(")), "{row}: there is no test {function} in {file}");
        }
    }
}

/// All Rust files of the program.
pub fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files
}
