//! request_key, key_requests, close_key_requests: what people were asked for.

use keylend::domain::{Policy, RequestId};

use crate::support::{TestStore, in_order, least_recently_used};

on_both_stores! {
    a_request_is_open_once_until_it_is_closed,
    of_many_who_ask_at_once_one_opens_it,
}

async fn ids(t: &TestStore, pool: &Policy) -> Vec<String> {
    t.store.key_requests(pool).await.unwrap().iter().map(|request| request.id.to_string()).collect()
}

async fn a_request_is_open_once_until_it_is_closed(t: &TestStore) {
    let (pool, other) = (t.pool(least_recently_used(4), &[]).await, t.pool(in_order(4), &[]).await);
    let [first, second] = [RequestId::new([9; 8]), RequestId::low_water()];
    let before = t.now(&pool).await;
    assert!(t.store.request_key(&pool, &first, "$by \"'").await.unwrap());
    assert!(t.store.request_key(&pool, &second, "low_water").await.unwrap());
    assert!(!t.store.request_key(&pool, &first, "another").await.unwrap());
    assert!(t.store.request_key(&other, &second, "").await.unwrap());
    let open = t.another_instance().await.key_requests(&pool).await.unwrap();
    assert_eq!(open.len(), 2);
    let asked = open.iter().find(|request| request.id == first).expect("it is open");
    assert!(asked.by == "$by \"'" && asked.asked_at >= before, "{asked:?}");
    let counted = async |pool: &Policy| t.store.stats(pool, 4).await.unwrap().key_requests;
    assert_eq!((counted(&pool).await, counted(&other).await), (2, 1));
    assert_eq!(t.store.close_key_requests(&pool, &[first.clone(), RequestId::new([1; 8])]).await.unwrap(), 1);
    assert_eq!(t.store.close_key_requests(&pool, std::slice::from_ref(&first)).await.unwrap(), 0);
    assert_eq!(
        (ids(t, &pool).await, ids(t, &other).await),
        (vec!["low_water".to_owned()], vec!["low_water".to_owned()])
    );
    assert_eq!((counted(&pool).await, counted(&other).await), (1, 1));
    assert!(t.store.request_key(&pool, &first, "again").await.unwrap());
}

async fn of_many_who_ask_at_once_one_opens_it(t: &TestStore) {
    let pool = t.pool(least_recently_used(4), &[]).await;
    let mut opened = 0;
    let mut asking = Vec::new();
    for _ in 0..4 {
        let (store, pool) = (t.another_instance().await, pool.clone());
        asking.push(tokio::spawn(async move { store.request_key(&pool, &RequestId::low_water(), "low_water").await }));
    }
    for asked in asking {
        opened += usize::from(asked.await.unwrap().unwrap());
    }
    assert_eq!((opened, ids(t, &pool).await.len()), (1, 1));
}
