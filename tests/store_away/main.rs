//! The store goes away and comes back: rule 5, by the program itself under load. The database is one of the test's
//! own, which it may cut off and kill; one that KEYLEND_TEST_MONGODB_URI names is never touched.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

mod documents;
mod embedded;
mod load;
mod mongodb;
#[path = "../support/own.rs"]
mod own;
#[allow(dead_code, reason = "these tests run no commands")]
#[path = "../support/program.rs"]
mod program;
#[path = "../support/proxy.rs"]
mod proxy;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The store's time limit in these tests.
const LIMIT: Duration = Duration::from_secs(1);

/// How much longer than the time limit an answer may take on a machine that has much else to do.
const SLACK: Duration = Duration::from_secs(4);

/// The script that starts a MongoDB of a test's own.
const MONGODB_OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mongodb/own");

/// The longest wait for anything: far above what is needed, so that a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest that service may take to resume after a heal: far less than a minute, else who waits would not see
/// that an outage has an aftermath.
const RESUMED: Duration = Duration::from_secs(20);

/// Runs an async test.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

/// Waits for `what`, but not for ever.
#[track_caller]
fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let (what, place) = (what.to_owned(), std::panic::Location::caller());
    async move {
        let answer = timeout(PATIENCE, future).await;
        answer.unwrap_or_else(|_| panic!("{place}: waited {PATIENCE:?} for {what}"))
    }
}

/// Waits until `what` is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    until_within(PATIENCE, what, is_so).await;
}

async fn until_within(patience: Duration, what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited {patience:?} until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
