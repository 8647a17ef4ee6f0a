//! What can be wrong with a file or with the store: nothing is lost, and what comes after is seen.

use std::fs;
use std::sync::Arc;

use keylend::domain::UsageCount;
use keylend::store::Store;
use keylend::store::sqlite::SqliteStore;
use keylend::store::vault::Vault;

use crate::faulty::{Faulty, Stall};
use crate::folder::{Folder, Instance, all, until};
use crate::place::{Place, TIME_LIMIT};

/// What is wrong with the file, and how it comes to be so.
type Fault = (&'static str, fn(&Folder));

on_both_stores!(
    what_is_no_file_of_keys_loses_none,
    lines_that_are_no_keys_are_left_out,
    every_state_that_can_be_left_is_borne,
);

async fn what_is_no_file_of_keys_loses_none(place: Place) {
    let folder = Folder::with("sk-a\nsk-b\n");
    Instance::start(&place, &folder).await.stop().await;
    let faults: [Fault; 4] = [
        ("a folder", |folder| fs::create_dir(folder.keys()).unwrap()),
        ("a pipe", |folder| {
            assert!(std::process::Command::new("mkfifo").arg(folder.keys()).status().unwrap().success());
        }),
        ("a link to nothing", |folder| std::os::unix::fs::symlink("nowhere", folder.keys()).unwrap()),
        ("bytes", |folder| folder.write([0, 159, 146, 150].repeat(100_000))),
    ];
    for (fault, make) in faults {
        fs::remove_file(folder.keys()).unwrap();
        make(&folder);
        let instance = Instance::start(&place, &folder).await;
        assert_eq!(instance.active().await, ["sk-a", "sk-b"], "{fault}");
        if fault == "a folder" {
            fs::remove_dir(folder.keys()).unwrap();
        } else {
            fs::remove_file(folder.keys()).unwrap();
        }
        // It is a file again, and is followed.
        folder.write("sk-a\nsk-b\nsk-c\n");
        instance.until_active(&["sk-a", "sk-b", "sk-c"]).await;
        folder.write("sk-a\nsk-b\n");
        instance.until_active(&["sk-a", "sk-b"]).await;
        instance.stop().await;
    }
}

async fn lines_that_are_no_keys_are_left_out(place: Place) {
    let long = "x".repeat(10_000_000);
    let folder = Folder::with(&format!("sk-a\n{long}\nschl\u{fc}ssel\n\0\nsk-b\n"));
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(instance.active().await, ["sk-a", "sk-b"]);
    instance.stop().await;
}

async fn every_state_that_can_be_left_is_borne(place: Place) {
    // Each time a first import, into a store of its own.
    let (mongodb, mut counts) = (matches!(place, Place::Database(_)), Vec::new());
    for state in
        [r#"{"plantid": 100}"#, r#"{"plantid": 250}"#, r#"{"plantid": -4}"#, r#"{"plantid": "3"}"#, "{\n\"pl", ""]
    {
        let place = if mongodb { Place::mongodb() } else { Place::sqlite() };
        let folder = Folder::with("sk-a\nsk-b\n");
        folder.state(state);
        let instance = Instance::start(&place, &folder).await;
        assert_eq!(instance.active().await, ["sk-a", "sk-b"], "{state}");
        counts.push(instance.record("sk-a").await.key.usage_count);
        instance.stop().await;
    }
    assert_eq!(counts, [100, 100, 0, 0, 0, 0].map(UsageCount::Whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_while_the_store_is_away_is_not_lost() {
    let data = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&data.path().join("keylend.db"), TIME_LIMIT, Vault::default()).await.unwrap();
    let store = Arc::new(Faulty::new(sqlite));
    let folder = Folder::with("sk-a\nsk-b\n");
    let instance = Instance::over(Arc::clone(&store) as Arc<dyn Store>, &folder).await;
    store.stall(Stall::UntilHealed);
    folder.write("sk-b\nsk-c\n");
    assert_eq!(all(store.inner()).await.len(), 2);
    store.heal();
    instance.until_active(&["sk-b", "sk-c"]).await;
    until("the line is gone", async || all(store.inner()).await.len() == 3).await;
    instance.stop().await;
}
