//! What the papers say is so: their lines are typed, their links lead somewhere, and every alert is explained.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod alerts;
#[allow(dead_code, reason = "these tests open no store themselves")]
#[path = "../support/database.rs"]
mod database;
mod links;
mod runnable;
#[allow(dead_code, reason = "the paper on moving over is typed part by part elsewhere")]
#[path = "../support/paper.rs"]
mod typed;

use std::path::{Path, PathBuf};

/// The repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All papers of the repository by their paths in it, with their texts.
fn papers() -> Vec<(PathBuf, String)> {
    let mut folders = vec![PathBuf::new()];
    let mut papers = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in Path::new(ROOT).join(&folder).read_dir().unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            // What is built, and what tools keep for themselves.
            let is_foreign = name.starts_with('.') || name == "target" || name == "node_modules";
            if entry.file_type().unwrap().is_dir() && !is_foreign {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                papers.push((path, text));
            }
        }
    }
    papers.sort();
    papers
}
