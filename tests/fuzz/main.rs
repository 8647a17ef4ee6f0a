//! What the fuzz targets look for, in the small corpora that lie beside them (`fuzz/corpus`): by the very same functions,
//! without a fuzzer.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// How many files a corpus has, and how many bytes each of them: they are read by people too.
const FILES: std::ops::RangeInclusive<usize> = 10..=40;
const BYTES: u64 = 8192;

macro_rules! hold {
    ($($target:ident),+ $(,)?) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),+];

        $(#[test]
        fn $target() {
            replay(stringify!($target), targets::$target);
        })+
    };
}

hold![
    bodies,
    documents,
    exported_line,
    ids,
    import,
    key_file,
    keylend_toml,
    provider,
    request_head,
    rows,
    sealed,
    state_file,
    tokens,
];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Gives a target all that its corpus has.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = fuzz().join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(FILES.contains(&files.len()), "{name} has {} files", files.len());
    files.retain(|file| {
        assert!(file.metadata().unwrap().len() <= BYTES, "{} is large", file.display());
        let input = fs::read(file).unwrap();
        catch_unwind(|| target(&input)).is_err()
    });
    assert!(files.is_empty(), "it does not hold of {files:?}");
}

#[test]
fn every_target_is_replayed() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let replayed: BTreeSet<String> = TARGETS.iter().map(|target| (*target).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), replayed);
    assert_eq!(names("corpus"), replayed);
}
