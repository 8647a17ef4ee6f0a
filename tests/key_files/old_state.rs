//! The older server's `api_state.json`: taken over once, with the first import.

use std::sync::Arc;

use keylend::domain::{NewKey, Secret, UsageCount};
use keylend::store::Store;
use keylend::store::sqlite::SqliteStore;
use keylend::store::vault::Vault;

use crate::faulty::{Faulty, Stall};
use crate::folder::{Folder, Instance, all, policy, until};
use crate::place::{Place, TIME_LIMIT};

on_both_stores!(
    the_counter_is_the_first_keys_uses,
    it_is_taken_over_once,
    a_key_that_was_used_keeps_its_own_count,
    a_crash_before_it_was_recorded_takes_it_once,
);

async fn count(instance: &Instance, text: &str) -> UsageCount {
    instance.record(text).await.key.usage_count
}

async fn the_counter_is_the_first_keys_uses(place: Place) {
    let folder = Folder::with("\n\nsk-a\nsk-b\n");
    folder.state(r#"{"plantid": 37, "healthid": 5}"#);
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(
        (count(&instance, "sk-a").await, count(&instance, "sk-b").await),
        (UsageCount::Whole(37), UsageCount::Whole(0))
    );
    // 63 more are left on it, and then the next one comes.
    for _ in 0..63 {
        assert_eq!(instance.pool().take().await.unwrap().secret.expose(), "sk-a");
    }
    assert_eq!(instance.pool().take().await.unwrap().secret.expose(), "sk-b");
    instance.stop().await;
}

async fn it_is_taken_over_once(place: Place) {
    let folder = Folder::with("sk-a\nsk-b\n");
    folder.state(r#"{"plantid": 37}"#);
    Instance::start(&place, &folder).await.stop().await;
    folder.state(r#"{"plantid": 50}"#);
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(count(&instance, "sk-a").await, UsageCount::Whole(37));
    // Not even with another first key, nor after all keys are gone.
    for text in ["sk-a", "sk-b"] {
        instance.pool().remove(instance.record(text).await.key.id).await.unwrap();
    }
    instance.stop().await;
    folder.write("sk-c\nsk-a\nsk-b\n");
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(
        (instance.active().await, count(&instance, "sk-c").await),
        (vec!["sk-c".to_owned()], UsageCount::Whole(0))
    );
    instance.stop().await;
}

async fn a_key_that_was_used_keeps_its_own_count(place: Place) {
    let store = place.store().await;
    store.prepare(&policy()).await.unwrap();
    let by_hand = ["sk-a", "sk-b"].map(|text| NewKey::fresh(Secret::parse(text).unwrap()));
    store.add(&policy(), &by_hand).await.unwrap();
    store.take(&policy(), 2).await.unwrap().unwrap();
    let folder = Folder::with("sk-a\nsk-b\n");
    folder.state(r#"{"plantid": 37}"#);
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(count(&instance, "sk-a").await, UsageCount::Whole(2));
    instance.stop().await;
}

async fn a_crash_before_it_was_recorded_takes_it_once(place: Place) {
    let store = place.store().await;
    store.prepare(&policy()).await.unwrap();
    let first = NewKey { usage_count: 37, ..NewKey::of_file(Secret::parse("sk-a").unwrap()) };
    store.bring(&policy(), &[first]).await.unwrap();
    store.take(&policy(), 1).await.unwrap().unwrap();
    let folder = Folder::with("sk-b\nsk-a\n");
    folder.state(r#"{"plantid": 37}"#);
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(
        (count(&instance, "sk-a").await, count(&instance, "sk-b").await),
        (UsageCount::Whole(38), UsageCount::Whole(0))
    );
    assert!(instance.store.state_taken_over(&policy()).await.unwrap());
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_import_that_is_broken_off_does_not_lose_it() {
    let data = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&data.path().join("keylend.db"), TIME_LIMIT, Vault::default()).await.unwrap();
    let store = Arc::new(Faulty::new(sqlite));
    store.prepare(&policy()).await.unwrap();
    // Known and never used: others can be there before it has its count.
    store.inner().add(&policy(), &[NewKey::fresh(Secret::parse("sk-a").unwrap())]).await.unwrap();
    store.stall(Stall::BreaksOff);
    let folder = Folder::with("sk-a\nsk-b\nsk-c\nsk-d\n");
    folder.state(r#"{"plantid": 37}"#);
    let instance = Instance::starting(Arc::clone(&store) as Arc<dyn Store>, &folder).await;
    until("some are there", async || all(store.inner()).await.len() > 1).await;
    store.heal();
    until("all are there", async || instance.active().await.len() == 4).await;
    assert_eq!(count(&instance, "sk-a").await, UsageCount::Whole(37));
    instance.stop().await;
}
