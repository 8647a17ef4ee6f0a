//! state_taken_over: recorded once for each pool, and for good.

use crate::support::{TestStore, in_order, least_recently_used};

on_both_stores! {
    it_is_recorded_for_one_pool_and_stays,
}

async fn it_is_recorded_for_one_pool_and_stays(t: &TestStore) {
    let (one, other) = (t.pool(in_order(4), &[]).await, t.pool(least_recently_used(4), &[]).await);
    assert!(!t.store.state_taken_over(&one).await.unwrap());
    for _ in 0..2 {
        t.store.record_state_taken_over(&one).await.unwrap();
        assert!(t.another_instance().await.state_taken_over(&one).await.unwrap());
    }
    assert!(!t.store.state_taken_over(&other).await.unwrap());
}
