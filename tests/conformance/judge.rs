//! judge: what a provider said of a key is applied to it, and to no other.

use std::time::Duration;

use keylend::domain::{KeyChange, KeyId, KeyRecord, Policy, Verdict};
use keylend::store::{Changed, Seen};

use crate::support::{HOUR, Planted, TestStore, in_order, least_recently_used, secret};

on_both_stores! {
    every_verdict_on_every_kind_of_key_is_as_the_domain_says,
    another_secret_is_not_judged,
    a_new_secret_was_never_verified,
}

fn every_verdict() -> Vec<Verdict> {
    let credits = [None, Some(7.25), Some(0.0)].map(|credits| Verdict::Alive { credits });
    let limited = [None, Some(Duration::from_secs(7)), Some(Duration::from_secs(1_000_000))];
    let limited = limited.map(|retry_after| Verdict::RateLimited { retry_after });
    credits.into_iter().chain(limited).chain([Verdict::Rejected, Verdict::Exhausted]).collect()
}

async fn judge(t: &TestStore, pool: &Policy, key: &Planted, verdict: Verdict) -> Option<Seen<KeyRecord>> {
    t.store.judge(pool, key.id, &secret(&key.secret), verdict).await.unwrap()
}

/// All that is seen of a key; an instant that the store's clock gave is as far from now as in the other one.
fn seen(record: &KeyRecord, now: keylend::domain::Timestamp) -> String {
    let mut record = record.clone();
    record.key.resting_until = record.key.resting_until.map(|until| {
        let rest = until.since(now).as_secs_f64().round();
        keylend::domain::Timestamp::from_millis(1000 * rest as i64)
    });
    let verified = record.verified.take().map(|verified| (verified.verdict, verified.credits));
    format!("{record:?} {verified:?}")
}

async fn every_verdict_on_every_kind_of_key_is_as_the_domain_says(t: &TestStore) {
    let pool = t.pool(in_order(4), &[]).await;
    let reasons = [None, Some("rejected"), Some("exhausted"), Some("operator"), Some("removed_from_file")];
    for verdict in every_verdict() {
        for disabled_reason in reasons {
            for (is_active, resting_until) in
                [(true, None), (false, None), (true, Some(5)), (false, Some(HOUR * 1_000_000))]
            {
                let leases = vec![HOUR * 1_000_000];
                let key = Planted { disabled_reason, is_active, resting_until, leases, ..Planted::counted(2) };
                t.plant(&pool, std::slice::from_ref(&key)).await;
                for again in [false, true] {
                    let mut expected = t.record(&pool, key.id).await;
                    let judged = judge(t, &pool, &key, verdict).await.expect("it is there");
                    verdict.apply(&pool, &mut expected, judged.now);
                    let what = format!("{verdict:?} of {key:?}, again {again}");
                    assert_eq!(seen(&judged.value, judged.now), seen(&expected, judged.now), "{what}");
                    let stored = t.record(&pool, key.id).await;
                    assert_eq!(seen(&stored, judged.now), seen(&expected, judged.now), "{what}");
                    assert_eq!(stored.verified.map(|verified| verified.at), Some(judged.now), "{what}");
                }
                t.store.remove(&pool, key.id).await.unwrap();
            }
        }
    }
}

async fn another_secret_is_not_judged(t: &TestStore) {
    let keys = [Planted::new(), Planted::new()];
    let pool = t.pool(least_recently_used(4), &keys).await;
    let before = t.record(&pool, keys[0].id).await;
    for (id, secret_text) in [
        (keys[0].id, &keys[1].secret),
        (KeyId::from_bytes([9; 12]), &keys[0].secret),
        (keys[0].id, &"sk-$api_key".to_owned()),
    ] {
        assert!(t.store.judge(&pool, id, &secret(secret_text), Verdict::Rejected).await.unwrap().is_none());
    }
    assert_eq!(format!("{:?}", t.record(&pool, keys[0].id).await), format!("{before:?}"));
}

async fn a_new_secret_was_never_verified(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    judge(t, &pool, &key, Verdict::Alive { credits: Some(3.5) }).await.expect("it is there");
    judge(t, &pool, &key, Verdict::Rejected).await.expect("it is there");
    let verified = t.record(&pool, key.id).await.verified.expect("it was");
    assert_eq!((verified.verdict, verified.credits), ("rejected", Some(3.5)));
    let same =
        KeyChange { note: Some(Some("ours".to_owned())), secret: Some(secret(&key.secret)), ..KeyChange::default() };
    let Changed::Changed(seen) = t.store.change(&pool, key.id, &same).await.unwrap() else { panic!("not changed") };
    assert_eq!(seen.value.verified, Some(verified));
    let other = KeyChange { secret: Some(secret("sk-other")), ..KeyChange::default() };
    let Changed::Changed(seen) = t.store.change(&pool, key.id, &other).await.unwrap() else { panic!("not changed") };
    assert_eq!((seen.value.verified, seen.value.key.is_active), (None, true));
    assert_eq!(t.record(&pool, key.id).await.verified, None);
}
