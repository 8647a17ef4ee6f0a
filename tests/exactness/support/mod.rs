//! Processes, and the store seen from outside.

pub mod member;
pub mod process;
pub mod raw;
pub mod server;

use std::time::Duration;

use keylend::domain::{NewKey, Policy, Secret};

use crate::place::Place;

/// The longest wait for anything in a test: far above what is needed, so that a slow machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for `what`, but not for ever.
#[track_caller]
pub fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let (what, place) = (what.to_owned(), std::panic::Location::caller());
    async move {
        let answer = tokio::time::timeout(PATIENCE, future).await;
        answer.unwrap_or_else(|_| panic!("{place}: waited {PATIENCE:?} for {what}"))
    }
}

/// Puts `count` fresh keys into a pool.
pub async fn fill(place: &Place, pool: &Policy, count: usize) {
    let store = place.store().await;
    store.prepare(pool).await.unwrap();
    let secrets = (0..count).map(|number| Secret::parse(&format!("sk-{number}")).unwrap());
    store.add(pool, &secrets.map(NewKey::fresh).collect::<Vec<_>>()).await.unwrap();
}
