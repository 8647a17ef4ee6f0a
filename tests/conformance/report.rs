//! report: a lease ends once, with the effect of its outcome and no other.

use std::time::Duration;

use keylend::domain::{KeyId, LeaseId, Outcome, Policy, Report, State, Timestamp, UsageCount};
use keylend::store::{LeasedKey, Settled};

use crate::support::{
    HOUR, Planted, TestStore, assert_between, in_order, lease_id, least_recently_used, name, repeatable, request,
};

on_both_stores! {
    each_outcome_has_its_effect_and_no_other,
    a_lease_is_settled_once,
    a_report_of_a_lapsed_lease_changes_nothing,
    a_report_of_another_lease_changes_nothing,
    a_longer_rest_is_never_shortened,
    a_hint_is_capped_by_the_pool,
    a_report_disables_only_a_key_that_was_active,
    a_use_counts_whatever_became_of_the_key_meanwhile,
    a_report_ends_its_own_lease_and_leaves_the_others,
    reports_at_once_are_all_counted,
}

const SECOND: Duration = Duration::from_secs(1);

/// A pool of one key in this shape, with a lease on it made before it got so.
async fn leased(t: &TestStore, policy: Policy, key: &Planted) -> (Policy, LeasedKey) {
    let pool = Policy { collection: format!("keys_{}", key.id), ..policy };
    let pool = t.pool(pool, std::slice::from_ref(key)).await;
    let leased = t.lease(&pool).await;
    (pool, leased)
}

async fn each_outcome_has_its_effect_and_no_other(t: &TestStore) {
    for policy in [least_recently_used(4), in_order(4)] {
        for (outcome, count, state, reason) in [
            (Outcome::Used, 3, State::Usable, None),
            (Outcome::Unused, 2, State::Usable, None),
            (Outcome::RateLimited, 2, State::Resting, None),
            (Outcome::Exhausted, 2, State::Disabled, Some("exhausted")),
            (Outcome::Rejected, 2, State::Disabled, Some("rejected")),
        ] {
            let key = Planted::counted(2);
            let (pool, leased) = leased(t, policy.clone(), &key).await;
            let before = (t.key(&pool, key.id).await, t.now(&pool).await);
            let settled = t.report(&pool, &leased, outcome).await;
            let after = t.now(&pool).await;
            assert_eq!(settled, Some(Settled { id: key.id, usage_count: UsageCount::Whole(count), state }));
            assert_eq!(t.uses(&pool, key.id).await, (count, 0), "{outcome:?}");
            let stored = t.key(&pool, key.id).await;
            assert_eq!(stored.last_used, before.0.last_used, "a report does not stamp");
            assert_eq!(stored.is_active, reason.is_none(), "{outcome:?}");
            assert_eq!(t.hidden(&pool, key.id).await.disabled_reason.as_deref(), reason);
            match stored.resting_until {
                Some(until) => {
                    assert_eq!(outcome, Outcome::RateLimited);
                    assert_between(before.1.plus(pool.rest), until, after.plus(pool.rest));
                }
                None => assert_ne!(outcome, Outcome::RateLimited),
            }
        }
    }
}

async fn a_lease_is_settled_once(t: &TestStore) {
    for first in Outcome::ALL {
        let key = Planted::new();
        let (pool, leased) = leased(t, least_recently_used(4), &key).await;
        assert!(t.report(&pool, &leased, first).await.is_some());
        let before = format!("{:?}", t.key(&pool, key.id).await);
        for second in Outcome::ALL {
            assert_eq!(t.report(&pool, &leased, second).await, None, "{first:?}, then {second:?}");
        }
        assert_eq!(t.store.sweep(&pool).await.unwrap(), 0);
        assert_eq!(format!("{:?}", t.key(&pool, key.id).await), before);
    }
}

async fn a_report_of_a_lapsed_lease_changes_nothing(t: &TestStore) {
    let key = Planted::new();
    let (pool, leased) = leased(t, least_recently_used(4), &key).await;
    t.let_leases_lapse(&pool).await;
    let before = format!("{:?}", t.key(&pool, key.id).await);
    for outcome in Outcome::ALL {
        assert_eq!(t.report(&pool, &leased, outcome).await, None);
    }
    assert_eq!(format!("{:?}", t.key(&pool, key.id).await), before);
    // It still counts, once, as what lapsed.
    assert_eq!(t.store.sweep(&pool).await.unwrap(), 1);
    for outcome in Outcome::ALL {
        assert_eq!(t.report(&pool, &leased, outcome).await, None);
    }
    assert_eq!(t.uses(&pool, key.id).await, (1, 0));
}

async fn a_report_of_another_lease_changes_nothing(t: &TestStore) {
    let keys = [Planted::new(), Planted::new()];
    let pool = t.pool(least_recently_used(4), &keys).await;
    let elsewhere = t.pool(in_order(4), &[]).await;
    let leased = t.lease(&pool).await;
    let id = lease_id(&pool, &leased);
    let report = Report::new(Outcome::Used, None).unwrap();
    for (pool, wrong) in [
        (&pool, LeaseId { entry: request().entry, ..id.clone() }),
        (&pool, LeaseId { key: keys[1].id, ..id.clone() }),
        (&pool, LeaseId { key: KeyId::from_bytes([0; 12]), ..id.clone() }),
        (&elsewhere, LeaseId { pool: name("plantid"), ..id.clone() }),
    ] {
        assert_eq!(t.store.report(pool, &wrong, report).await.unwrap(), None);
        assert_eq!(t.store.renew(pool, &wrong, SECOND).await.unwrap(), None);
    }
    assert_eq!(t.uses(&pool, keys[0].id).await, (0, 1));
    assert_eq!(t.uses(&pool, keys[1].id).await, (0, 0));
    assert!(t.store.report(&pool, &id, report).await.unwrap().is_some());
}

async fn a_longer_rest_is_never_shortened(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(9), std::slice::from_ref(&key)).await;
    let leases = [t.lease(&pool).await, t.lease(&pool).await, t.lease(&pool).await];
    let mut rest = None;
    for (leased, hint) in leases.iter().zip([50, 10, 90]) {
        let hint = SECOND * hint;
        let earliest = t.in_millis(&pool, -1).await;
        let settled = t.report_with(&pool, leased, Outcome::RateLimited, Some(hint)).await.unwrap();
        assert_eq!(settled.state, State::Resting);
        let now = t.key(&pool, key.id).await.resting_until;
        let earliest = Timestamp::from_millis(earliest).plus(hint);
        assert!(now >= rest && now >= Some(earliest), "{now:?} {rest:?}");
        assert!(hint.as_secs() != 10 || now == rest, "a shorter rest changes nothing");
        rest = now;
    }
    // What an earlier rest left behind does not count any more.
    let rested = Planted { resting_until: Some(HOUR), ..Planted::new() };
    let (pool, leased) = leased(t, least_recently_used(4), &rested).await;
    let before = t.now(&pool).await;
    t.report_with(&pool, &leased, Outcome::RateLimited, Some(SECOND)).await.unwrap();
    let until = t.key(&pool, rested.id).await.resting_until.unwrap();
    assert_between(before.plus(SECOND), until, t.now(&pool).await.plus(SECOND));
}

async fn a_hint_is_capped_by_the_pool(t: &TestStore) {
    let key = Planted::new();
    let policy = Policy { rest_cap: 5 * SECOND, ..least_recently_used(4) };
    let (pool, leased) = leased(t, policy, &key).await;
    t.report_with(&pool, &leased, Outcome::RateLimited, Some(1000 * SECOND)).await.unwrap();
    let until = t.key(&pool, key.id).await.resting_until.unwrap();
    assert!(until.as_millis() <= t.in_millis(&pool, 5_001).await);
}

async fn a_report_disables_only_a_key_that_was_active(t: &TestStore) {
    let key = Planted::new();
    let (pool, first) = leased(t, least_recently_used(9), &key).await;
    let (second, third) = (t.lease(&pool).await, t.lease(&pool).await);
    let settled = t.report(&pool, &first, Outcome::Rejected).await.unwrap();
    assert_eq!((settled.state, settled.usage_count), (State::Disabled, UsageCount::Whole(0)));
    let settled = t.report(&pool, &second, Outcome::Exhausted).await.unwrap();
    assert_eq!(settled.state, State::Disabled);
    assert_eq!(t.hidden(&pool, key.id).await.disabled_reason.as_deref(), Some("rejected"));
    let rejected = async || t.store.stats(&pool, 9).await.unwrap().rejected;
    assert_eq!(rejected().await, 1);
    t.switch_off(&pool, key.id, "operator").await;
    assert_eq!(rejected().await, 0);
    assert!(t.report(&pool, &third, Outcome::Rejected).await.is_some());
    assert_eq!(t.hidden(&pool, key.id).await.disabled_reason.as_deref(), Some("operator"));
    assert_eq!(t.uses(&pool, key.id).await, (0, 0));
}

async fn a_use_counts_whatever_became_of_the_key_meanwhile(t: &TestStore) {
    let key = Planted::counted(3);
    let (pool, leased) = leased(t, least_recently_used(4), &key).await;
    for _ in 0..2 {
        t.store.increment_usage(&pool, &keylend::domain::KeyRef::Id(key.id)).await.unwrap();
    }
    t.switch_off(&pool, key.id, "operator").await;
    let settled = t.report(&pool, &leased, Outcome::Used).await;
    let expected = Settled { id: key.id, usage_count: UsageCount::Whole(6), state: State::Disabled };
    assert_eq!(settled, Some(expected));
}

async fn a_report_ends_its_own_lease_and_leaves_the_others(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(4), std::slice::from_ref(&key)).await;
    let leases = [t.lease(&pool).await, t.lease_as(&pool, &repeatable("app", &pool, "x")).await, t.lease(&pool).await];
    assert!(t.report(&pool, &leases[1], Outcome::Used).await.is_some());
    assert_eq!(t.uses(&pool, key.id).await, (1, 2));
    for leased in [&leases[0], &leases[2]] {
        let renewed = t.store.renew(&pool, &lease_id(&pool, leased), SECOND).await.unwrap();
        assert_eq!(renewed, Some(leased.expires_at));
    }
    // A lease that lapsed beside it stays open.
    t.let_leases_lapse(&pool).await;
    let live = t.lease(&pool).await;
    assert!(t.report(&pool, &live, Outcome::Unused).await.is_some());
    let (count, open) = t.uses(&pool, key.id).await;
    assert_eq!(count + open, 3, "count {count}, open {open}");
    t.store.sweep(&pool).await.unwrap();
    assert_eq!(t.uses(&pool, key.id).await, (3, 0));
    assert!(t.key(&pool, key.id).await.last_used > Some(Timestamp::from_millis(0)));
}

async fn reports_at_once_are_all_counted(t: &TestStore) {
    let key = Planted::new();
    let pool = t.pool(least_recently_used(40), std::slice::from_ref(&key)).await;
    let mut leases = Vec::new();
    for _ in 0..40 {
        leases.push(t.lease(&pool).await);
    }
    let instances = [t.store.clone(), t.another_instance().await];
    // Each is sent twice, to two instances: one of them is told that it is gone.
    let all = leases.iter().enumerate().flat_map(|(n, leased)| {
        let outcome = if n % 4 == 0 { Outcome::Unused } else { Outcome::Used };
        let report = Report::new(outcome, None).unwrap();
        instances.iter().map(move |store| (store.clone(), lease_id(&least_recently_used(40), leased), report))
    });
    let all = all.map(|(store, id, report)| {
        let pool = pool.clone();
        tokio::spawn(async move { store.report(&pool, &id, report).await.unwrap().is_some() })
    });
    let mut settled = 0;
    for one in all.collect::<Vec<_>>() {
        settled += u32::from(one.await.unwrap());
    }
    assert_eq!(settled, 40);
    assert_eq!(t.uses(&pool, key.id).await, (30, 0));
}
