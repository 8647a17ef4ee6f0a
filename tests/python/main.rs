//! The Python client, `clients/python`: its own tests against the program, its types, its style, its wheel.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// Where the client is.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python");

/// A program of the Python that `tests/python/up` prepared.
fn python(program: &str) -> Command {
    let folder = std::env::var("KEYLEND_TEST_PYTHON").expect("set, as it was when the tests were built");
    let mut command = Command::new(Path::new(&folder).join(program));
    command.current_dir(CLIENT).env("PYTHONPATH", "src").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}");
    said
}

#[test_with::env(KEYLEND_TEST_PYTHON)]
#[test]
fn its_own_tests_pass_against_the_program() {
    let mut tests = python("python");
    tests.args(["-m", "pytest", "-p", "no:cacheprovider"]).env("KEYLEND_TEST_PROGRAM", env!("CARGO_BIN_EXE_keylend"));
    assert!(succeeds(&mut tests).contains(" passed"));
}

#[test_with::env(KEYLEND_TEST_PYTHON)]
#[test]
fn its_types_and_its_style_hold() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(python("mypy").arg("--cache-dir").arg(folder.path()));
    succeeds(python("ruff").args(["check", "--no-cache", "."]));
    succeeds(python("ruff").args(["format", "--no-cache", "--check", "."]));
}

#[test_with::env(KEYLEND_TEST_PYTHON)]
#[test]
fn its_wheel_is_made_with_its_types() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(python("python").args(["-m", "build", "--wheel", "--no-isolation", "--outdir"]).arg(folder.path()));
    let wheel = folder.path().join("keylend-0.1.0-py3-none-any.whl");
    let listed = succeeds(python("python").args(["-m", "zipfile", "--list"]).arg(&wheel));
    for part in ["keylend/compat.py", "keylend/py.typed"] {
        assert!(listed.contains(part), "{listed}");
    }
    assert!(!listed.contains("models.py"), "the shim is put on a path, never installed: {listed}");
}
