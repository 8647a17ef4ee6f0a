//! Several instances that follow the same file, and such as died with it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use keylend::domain::{NewKey, Secret};
use keylend::pool::Pools;
use keylend::store::Store;
use keylend::store::sqlite::SqliteStore;
use keylend::store::vault::Vault;

use crate::faulty::Faulty;
use crate::folder::{Folder, Instance, all, is_withdrawn, policy, secret, until};
use crate::place::{Place, TIME_LIMIT};

on_both_stores!(
    several_instances_bring_a_file_once_in_its_order,
    several_instances_withdraw_and_bring_back_together,
    the_file_of_a_dead_instance_is_taken_up_when_its_lock_ends,
    one_that_stops_leaves_the_file_to_others,
);

async fn several_instances_bring_a_file_once_in_its_order(place: Place) {
    let lines: Vec<String> = (0..2_500).map(|n| format!("sk-{:05}-{n}", n * 7919 % 10_007)).collect();
    let folder = Folder::with(&lines.join("\n"));
    folder.state(r#"{"plantid": 7}"#);
    let stores = join_all((0..4).map(|_| place.store())).await;
    let instances = join_all(stores.into_iter().map(|store| Instance::starting(store, &folder))).await;
    let store = place.store().await;
    until("all are there", async || all(&*store).await.len() == lines.len()).await;
    let records = all(&*store).await;
    assert_eq!(records.iter().map(secret).collect::<Vec<_>>(), lines);
    assert!(records.iter().all(|record| record.from_file && record.key.is_active));
    let counts: Vec<u64> = records.iter().map(|record| record.key.usage_count.whole().unwrap()).collect();
    assert_eq!((counts[0], counts.iter().sum::<u64>()), (7, 7));
    for instance in instances {
        instance.stop().await;
    }
}

async fn several_instances_withdraw_and_bring_back_together(place: Place) {
    let folder = Folder::with("sk-a\nsk-b\n");
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(Instance::start(&place, &folder).await);
    }
    for _ in 0..2 {
        folder.write("sk-b\nsk-c\n");
        instances[0].until_active(&["sk-b", "sk-c"]).await;
        assert!(is_withdrawn(&instances[1].record("sk-a").await));
        folder.write("sk-a\nsk-b\nsk-c\n");
        instances[2].until_active(&["sk-a", "sk-b", "sk-c"]).await;
    }
    for instance in instances {
        instance.stop().await;
    }
}

async fn the_file_of_a_dead_instance_is_taken_up_when_its_lock_ends(place: Place) {
    let store: Arc<dyn Store> = place.store().await;
    store.prepare(&policy()).await.unwrap();
    let folder = Folder::with("sk-a\nsk-b\n");
    folder.state(r#"{"plantid": 7}"#);
    // It had brought the first key with its count, and neither the second nor the word that it had.
    assert!(store.lock("files:plantid", "dead", Duration::from_secs(300)).await.unwrap());
    let first = NewKey { usage_count: 7, ..NewKey::of_file(Secret::parse("sk-a").unwrap()) };
    store.bring(&policy(), &[first]).await.unwrap();
    let instance = Instance::starting(Arc::clone(&store), &folder).await;
    // Its lock comes to its end.
    assert!(store.lock("files:plantid", "dead", Duration::from_millis(1)).await.unwrap());
    instance.until_active(&["sk-a", "sk-b"]).await;
    assert_eq!(instance.record("sk-a").await.key.usage_count.whole(), Some(7));
    until("it is recorded", async || store.state_taken_over(&policy()).await.unwrap()).await;
    instance.stop().await;
}

async fn one_that_stops_leaves_the_file_to_others(place: Place) {
    let folder = Folder::with("sk-a\n");
    let instance = Instance::start(&place, &folder).await;
    let store = Arc::clone(&instance.store);
    instance.stop().await;
    assert!(store.lock("files:plantid", "next", Duration::from_secs(300)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_while_another_instance_has_the_file() {
    let data = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&data.path().join("keylend.db"), TIME_LIMIT, Vault::default()).await.unwrap();
    let store = Arc::new(Faulty::new(sqlite));
    store.prepare(&policy()).await.unwrap();
    store.inner().lock("files:plantid", "other", Duration::from_secs(300)).await.unwrap();
    let folder = Folder::with("sk-a\n");
    let instance = Instance::starting(Arc::clone(&store) as Arc<dyn Store>, &folder).await;
    until("it was asked again", async || store.locks_asked() > 2).await;
    assert_eq!(all(store.inner()).await.len(), 0);
    // Nor is the pool gone through again before that one has ended.
    assert_eq!(store.lists_asked(), 1);
    store.inner().unlock("files:plantid", "other").await.unwrap();
    instance.until_active(&["sk-a"]).await;
    instance.stop().await;
}

#[tokio::test]
async fn the_file_is_locked_for_longer_than_a_step_may_take() {
    let data = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&data.path().join("keylend.db"), TIME_LIMIT, Vault::default()).await.unwrap();
    let store = Arc::new(Faulty::new(sqlite));
    for (time_limit, expected) in [(5, 30), (300, 600)] {
        let pools = Pools::new(Arc::clone(&store) as Arc<dyn Store>, [policy()], Duration::from_secs(time_limit));
        pools.prepare().await.unwrap();
        assert!(pools.get("plantid").unwrap().lock_file("one").await.unwrap());
        assert_eq!(store.last_lock(), Duration::from_secs(expected));
    }
}
