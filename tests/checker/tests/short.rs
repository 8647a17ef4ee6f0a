//! The checker in short runs: it finds nothing in keylend, and each of the bugs that are planted for it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the programs of this build.
fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_keylend-checker")).parent().unwrap()
}

/// Builds a program of the workspace's root, where it is not there as it should be.
fn built(program: &str, features: &[&str]) -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // Where this test was built.
    cargo.arg("build").arg("--target-dir").arg(programs().parent().unwrap());
    cargo.args(["--quiet", "--locked", "--package", "keylend", "--bin", program]).args(features);
    assert!(cargo.status().unwrap().success(), "{program} could not be built");
    programs().join(program)
}

fn checked(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keylend-checker"));
    command.arg("--keylend").arg(program).args(arguments);
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// keylend as it is keeps its promises.
fn holds(arguments: &[&str]) {
    // Built with the tests of the whole workspace.
    let beside = programs().join("keylend");
    let program = if beside.exists() { beside } else { built("keylend", &[]) };
    let output = checked(&program, arguments);
    println!("{}", told(&output));
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}

/// keylend with this bug breaks them, and that is seen.
fn is_found(bug: &str, arguments: &[&str]) {
    let program = built("keylend-planted", &["--features", "planted"]);
    let rounds = ["--round", "6s", "--operations", "100000", "--no-faults", "--planted", bug];
    let output = checked(&program, &[&rounds, arguments].concat());
    println!("{}", told(&output));
    assert_eq!(output.status.code(), Some(1), "{bug} was not found: {}", told(&output));
    assert!(told(&output).contains("VIOLATION"), "{}", told(&output));
}

#[test]
fn no_promise_is_broken() {
    holds(&["--round", "12s"]);
}

#[test]
fn no_promise_is_broken_one_by_one() {
    holds(&["--round", "12s", "--keys", "scarce", "--one-by-one"]);
}

#[test]
fn no_promise_is_broken_while_the_disk_fills() {
    let mut unshare = Command::new("unshare");
    let probe = "mount -t tmpfs -o size=1m tmpfs /mnt";
    let possible = unshare.args(["--map-root-user", "--mount", "sh", "-c", probe]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("not tested: this machine gives no disk of one's own");
        return;
    }
    holds(&["--round", "12s", "--disk", "128m"]);
}

/// Debian's package `faketime`.
#[test]
fn no_promise_is_broken_while_clocks_jump() {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    if !Path::new(&library).exists() {
        println!("not tested: there is no {library}");
        return;
    }
    holds(&["--round", "12s", "--keys", "scarce", "--faketime", &library]);
}

#[test_with::env(KEYLEND_TEST_OWN_MONGODB)]
#[test]
fn no_promise_is_broken_on_mongodb() {
    holds(&["--round", "12s", "--store", "mongodb"]);
}

#[test_with::env(KEYLEND_TEST_OWN_MONGODB)]
#[test]
fn no_promise_is_broken_on_mongodb_one_by_one() {
    holds(&["--round", "12s", "--store", "mongodb", "--keys", "scarce", "--one-by-one"]);
}

#[test]
fn a_dropped_guard_is_found() {
    is_found("guard-dropped", &["--keys", "scarce"]);
}

#[test_with::env(KEYLEND_TEST_OWN_MONGODB)]
#[test]
fn a_dropped_guard_is_found_on_mongodb() {
    is_found("guard-dropped", &["--keys", "scarce", "--store", "mongodb"]);
}

#[test]
fn a_lease_that_is_settled_twice_is_found() {
    is_found("settled-twice", &[]);
}

#[test]
fn a_count_that_is_lost_on_a_retry_is_found() {
    is_found("lost-on-retry", &[]);
}

#[test]
fn a_lapsed_lease_that_is_lent_again_before_it_is_settled_is_found() {
    is_found("lapsed-is-free", &["--keys", "scarce"]);
}

#[test_with::env(KEYLEND_TEST_OWN_MONGODB)]
#[test]
fn candidates_that_are_used_after_their_age_are_found() {
    is_found("old-candidates", &["--keys", "plenty", "--store", "mongodb"]);
}
