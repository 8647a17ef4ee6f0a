//! examine and databases: what is there, nothing changed for it.

use keylend::store::Examination;

use crate::support::{Planted, TestStore, in_order, least_recently_used, vault};

on_both_stores! {
    a_pool_that_was_never_prepared_is_not_there_and_is_not_made,
    a_prepared_pool_misses_nothing,
    the_database_in_use_is_among_those_found,
}

async fn a_pool_that_was_never_prepared_is_not_there_and_is_not_made(t: &TestStore) {
    let before = t.collections().await;
    for pool in [least_recently_used(4), in_order(4)] {
        let seen = t.store.examine(&pool, 9).await.unwrap();
        assert!(!seen.missing_indexes.is_empty());
        assert_eq!(seen, Examination { missing_indexes: seen.missing_indexes.clone(), ..Examination::default() });
    }
    t.store.databases().await.unwrap();
    assert_eq!(t.collections().await, before);
}

async fn a_prepared_pool_misses_nothing(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        let pool = t.pool(policy, &[]).await;
        let empty = Examination { exists: true, ..Examination::default() };
        assert_eq!(t.store.examine(&pool, 9).await.unwrap(), empty);
        t.plant(&pool, &[Planted::new(), Planted { is_active: false, ..Planted::counted(200) }]).await;
        for listed in [0, 9] {
            let by = vault().names().next().map(str::to_owned);
            let encrypted = by.into_iter().map(|by| (by, 2)).collect();
            let expected = Examination { documents: 2, encrypted, ..empty.clone() };
            assert_eq!(t.store.examine(&pool, listed).await.unwrap(), expected);
        }
    }
}

async fn the_database_in_use_is_among_those_found(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[Planted::new()]).await;
    let found = t.store.databases().await.unwrap();
    if t.store.describe().starts_with("SQLite") {
        assert_eq!(found, []);
        return;
    }
    let in_use: Vec<_> = found.iter().filter(|database| database.in_use).collect();
    assert_eq!(in_use.len(), 1);
    assert!(t.store.describe().ends_with(&in_use[0].name));
    assert!(in_use[0].collections.iter().any(|(name, _)| *name == pool.collection), "{in_use:?}");
    assert!(found.iter().all(|database| !["admin", "config", "local"].contains(&&*database.name)));
}
