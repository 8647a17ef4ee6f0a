//! Lines that come and go, and their keys with them.

use keylend::domain::{DisabledReason, KeyChange, NewKey, Secret, UsageCount};

use crate::folder::{Folder, Instance, is_withdrawn, policy, secret, until};
use crate::place::Place;

on_both_stores!(
    keys_come_in_the_order_of_the_file_however_it_was_left,
    a_line_appended_is_taken,
    a_line_that_goes_withdraws_its_key_until_it_comes_back,
    a_line_that_went_while_nobody_followed_is_seen_by_the_next_start,
    a_key_added_by_hand_goes_with_its_line,
    a_key_that_an_operator_removed_stays_away,
    what_is_disabled_for_another_reason_stays_so,
    a_file_that_says_nothing_changes_nothing,
    ten_thousand_lines_come_in_their_order,
);

async fn keys_come_in_the_order_of_the_file_however_it_was_left(place: Place) {
    let folder = Folder::with("\u{feff}sk-c\r\n\r\n  sk-a \n\tsk-b\t\nsk-a\n\ntwo words\nsk-d");
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(instance.active().await, ["sk-c", "sk-a", "sk-b", "sk-d"]);
    assert_eq!(instance.pool().take().await.unwrap().secret.expose(), "sk-c");
    instance.stop().await;
}

async fn a_line_appended_is_taken(place: Place) {
    let folder = Folder::with("sk-a\n");
    let instance = Instance::start(&place, &folder).await;
    for n in 0..5 {
        // The last line has no end each time: the next one ends it.
        folder.append(&format!("{}sk-{n}", if n == 0 { "" } else { "\n" }));
        let expected: Vec<String> = ["sk-a".to_owned()].into_iter().chain((0..=n).map(|n| format!("sk-{n}"))).collect();
        instance.until_active(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    instance.stop().await;
}

async fn a_line_that_goes_withdraws_its_key_until_it_comes_back(place: Place) {
    let folder = Folder::with("sk-a\nsk-b\nsk-c\n");
    let instance = Instance::start(&place, &folder).await;
    instance.pool().take().await.unwrap();
    folder.write("sk-b\nsk-c\n");
    instance.until_active(&["sk-b", "sk-c"]).await;
    assert!(is_withdrawn(&instance.record("sk-a").await));
    folder.write("sk-b\nsk-c\nsk-a\n");
    // It has its old place and its count.
    instance.until_active(&["sk-a", "sk-b", "sk-c"]).await;
    assert_eq!(instance.record("sk-a").await.key.usage_count, UsageCount::Whole(1));
    instance.stop().await;
}

async fn a_line_that_went_while_nobody_followed_is_seen_by_the_next_start(place: Place) {
    let folder = Folder::with("sk-a\nsk-b\n");
    Instance::start(&place, &folder).await.stop().await;
    folder.write("sk-b\nsk-c\n");
    let instance = Instance::start(&place, &folder).await;
    instance.until_active(&["sk-b", "sk-c"]).await;
    instance.stop().await;
    // And one that came back.
    folder.write("sk-a\nsk-b\nsk-c\n");
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(instance.active().await, ["sk-a", "sk-b", "sk-c"]);
    instance.stop().await;
}

async fn a_key_added_by_hand_goes_with_its_line(place: Place) {
    let store = place.store().await;
    store.prepare(&policy()).await.unwrap();
    let by_hand = ["sk-b", "sk-hand"].map(|text| NewKey::fresh(Secret::parse(text).unwrap()));
    store.add(&policy(), &by_hand).await.unwrap();
    let folder = Folder::with("sk-a\nsk-b\n");
    let instance = Instance::start(&place, &folder).await;
    folder.write("sk-a\n");
    // What never stood in the file is nothing to it.
    instance.until_active(&["sk-hand", "sk-a"]).await;
    assert!(is_withdrawn(&instance.record("sk-b").await));
    instance.stop().await;
}

async fn a_key_that_an_operator_removed_stays_away(place: Place) {
    let folder = Folder::with("sk-a\nsk-b\n");
    let instance = Instance::start(&place, &folder).await;
    let id = instance.record("sk-a").await.key.id;
    instance.pool().remove(id).await.unwrap();
    folder.append("sk-c\n");
    instance.until_active(&["sk-b", "sk-c"]).await;
    folder.write("sk-c\nsk-a\nsk-d\n");
    instance.until_active(&["sk-c", "sk-d"]).await;
    instance.stop().await;
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(instance.active().await, ["sk-c", "sk-d"]);
    // By hand it comes back, and is the file's as before.
    instance.pool().add(&[NewKey::fresh(Secret::parse("sk-a").unwrap())]).await.unwrap();
    instance.stop().await;
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(instance.active().await, ["sk-c", "sk-d", "sk-a"]);
    assert!(instance.record("sk-a").await.from_file);
    instance.stop().await;
}

async fn what_is_disabled_for_another_reason_stays_so(place: Place) {
    let folder = Folder::with("sk-a\nsk-b\nsk-c\n");
    let instance = Instance::start(&place, &folder).await;
    let id = instance.record("sk-a").await.key.id;
    let off = KeyChange { is_active: Some(false), ..KeyChange::default() };
    instance.pool().change(id, &off).await.unwrap();
    folder.write("sk-b\n");
    instance.until_active(&["sk-b"]).await;
    assert_eq!(instance.record("sk-a").await.disabled_reason, Some(DisabledReason::Operator));
    folder.write("sk-a\nsk-b\nsk-c\n");
    instance.until_active(&["sk-b", "sk-c"]).await;
    instance.stop().await;
}

async fn a_file_that_says_nothing_changes_nothing(place: Place) {
    let folder = Folder::with("sk-a\nsk-b\n");
    let mut instance = Instance::start(&place, &folder).await;
    for nothing in ["", "\n \n", "no key here\n"] {
        folder.write(nothing);
        // Seen by the look of another start, which is over before it is asked.
        instance.stop().await;
        instance = Instance::start(&place, &folder).await;
        assert_eq!(instance.active().await, ["sk-a", "sk-b"], "{nothing:?}");
    }
    std::fs::remove_file(folder.keys()).unwrap();
    instance.stop().await;
    instance = Instance::start(&place, &folder).await;
    assert_eq!(instance.active().await, ["sk-a", "sk-b"]);
    // It comes to be while it is followed, and says less.
    folder.write("sk-b\nsk-c\n");
    instance.until_active(&["sk-b", "sk-c"]).await;
    instance.stop().await;
}

async fn ten_thousand_lines_come_in_their_order(place: Place) {
    let lines: Vec<String> = (0..10_000).map(|n| format!("sk-{:05}-{n}", n * 7919 % 10_007)).collect();
    let folder = Folder::with(&lines.join("\n"));
    let instance = Instance::start(&place, &folder).await;
    assert_eq!(instance.active().await, lines);
    folder.append("\nsk-last\n");
    until("the last one is there", async || {
        instance.records().await.last().is_some_and(|record| secret(record) == "sk-last")
    })
    .await;
    instance.stop().await;
}
