//! The documents: every event of the log is told of, and shown by a test.

use std::collections::BTreeSet;
use std::path::Path;

/// The Rust files of a folder, one after the other.
fn text_of(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_event_of_the_log_is_documented_and_has_its_test() {
    let (sources, tests) = (text_of("src"), text_of("tests/end_to_end"));
    let documents = include_str!("../../../docs/discord.md");
    let events = sources.split("event = \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let events: BTreeSet<&str> = events.collect();
    assert!(events.len() > 10, "{events:?}");
    for event in events {
        assert!(documents.contains(&format!("`{event}`")), "{event} is not in docs/discord.md");
        assert!(tests.contains(event), "{event} has no test");
    }
}
