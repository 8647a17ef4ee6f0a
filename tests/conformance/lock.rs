//! lock and unlock: one owner at a time, until its lock ends.

use std::time::Duration;

use crate::support::{TestStore, eventually};

on_both_stores! {
    one_owner_has_a_lock_until_it_ends_it,
    a_lock_that_nobody_ends_ends_by_itself,
    of_many_at_once_one_gets_it,
    locks_of_other_names_are_others,
}

const LONG: Duration = Duration::from_secs(300);
const SHORT: Duration = Duration::from_millis(1);

impl TestStore {
    async fn lock(&self, name: &str, owner: &str, lasts: Duration) -> bool {
        self.store.lock(name, owner, lasts).await.unwrap()
    }
}

async fn one_owner_has_a_lock_until_it_ends_it(t: &TestStore) {
    assert!(t.lock("files", "a", LONG).await);
    assert!(!t.lock("files", "b", LONG).await);
    // Renewed, not lost to itself.
    assert!(t.lock("files", "a", LONG).await);
    t.store.unlock("files", "b").await.unwrap();
    assert!(!t.another_instance().await.lock("files", "b", LONG).await.unwrap());
    t.store.unlock("files", "a").await.unwrap();
    t.store.unlock("files", "a").await.unwrap();
    assert!(t.lock("files", "b", LONG).await);
    assert!(!t.lock("files", "a", LONG).await);
}

async fn a_lock_that_nobody_ends_ends_by_itself(t: &TestStore) {
    assert!(t.lock("files", "a", LONG).await);
    // Its owner may let it end sooner than it would have.
    assert!(t.lock("files", "a", SHORT).await);
    eventually("the lock ends", async || t.lock("files", "b", LONG).await.then_some(())).await;
    assert!(!t.lock("files", "a", LONG).await);
}

async fn of_many_at_once_one_gets_it(t: &TestStore) {
    let stores = [t.store.clone(), t.another_instance().await];
    for ended in [false, true] {
        let name = format!("files:{ended}");
        if ended {
            assert!(t.lock(&name, "old", SHORT).await);
            eventually("the lock ends", async || t.lock(&name, "older", SHORT).await.then_some(())).await;
        }
        let asking = (0..8).map(|n| {
            let (store, name) = (stores[n % 2].clone(), name.clone());
            tokio::spawn(async move { store.lock(&name, &format!("owner-{n}"), LONG).await.unwrap() })
        });
        let mut got = 0;
        for asking in asking.collect::<Vec<_>>() {
            got += usize::from(asking.await.unwrap());
        }
        // Whoever asked before the short one had ended got nothing.
        assert!(got == 1 || ended && got == 0, "{got}");
    }
}

async fn locks_of_other_names_are_others(t: &TestStore) {
    for name in ["files:plantid", "files:healthid", "$files", "files"] {
        assert!(t.lock(name, "$a", LONG).await, "{name}");
        assert!(!t.lock(name, "$ends_at", LONG).await, "{name}");
    }
}
