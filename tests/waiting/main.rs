//! Callers that wait for a key: in order of arrival, as long as one can become free, and no longer.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../support/combine.rs"]
mod combine;
#[path = "../support/place.rs"]
mod place;

use std::time::{Duration, Instant};

use keylend::domain::{NewKey, Outcome, Picks, Policy, Report, Secret};
use keylend::pool::{Ask, Lent, Pool, PoolError, Pools};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use combine::serving;
use place::{Place, TIME_LIMIT, run};

/// Longer than any test: who waits so long is answered for another reason than that its time is over.
const LONG: Duration = Duration::from_secs(3600);

/// The longest that a test waits for what is bound to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// An instance with a pool `once`, one use per key.
async fn instance(place: &Place) -> Pools {
    let once = Policy::new("once".parse().unwrap(), Picks::LeastRecentlyUsed, 1);
    let pools = Pools::new(place.store().await, [once], serving(TIME_LIMIT));
    pools.prepare().await.unwrap();
    pools
}

async fn with_keys(place: &Place, keys: usize) -> Pools {
    let pools = instance(place).await;
    let keys: Vec<NewKey> = (0..keys).map(|key| NewKey::fresh(Secret::parse(&format!("sk-{key}")).unwrap())).collect();
    once(&pools).add(&keys).await.unwrap();
    pools
}

fn once(pools: &Pools) -> &Pool {
    pools.get("once").unwrap()
}

fn waiting(wait: Duration) -> Ask {
    Ask { wait: Some(wait), ..Ask::default() }
}

fn ask(pools: &Pools, ask: Ask) -> JoinHandle<Result<Lent, PoolError>> {
    let pool = once(pools).clone();
    tokio::spawn(async move { pool.lease(ask).await })
}

async fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn within<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer long before the wait is over")
}

fn unused() -> Report {
    Report::new(Outcome::Unused, None).unwrap()
}

async fn lend(pools: &Pools) -> keylend::domain::LeaseId {
    let lent = once(pools).lease(Ask::default()).await.unwrap();
    let lease = lent.lease().clone();
    lent.answered();
    lease
}

on_both_stores! {
    who_waits_gets_what_is_given_back_here_or_elsewhere,
    who_came_first_is_served_first,
    a_key_that_rests_is_handed_out_when_its_rest_is_over,
    a_lease_that_lapses_frees_its_key_in_a_refund_pool,
    a_spent_or_empty_pool_is_told_of_at_once,
    a_wait_has_an_end,
    who_leaves_leaves_the_line_and_no_lease,
    waiters_have_a_cap_and_are_all_answered_when_the_instance_stops,
    a_repeated_request_does_not_wait_behind_others,
}

async fn who_waits_gets_what_is_given_back_here_or_elsewhere(place: Place) {
    let (here, elsewhere) = (with_keys(&place, 1).await, instance(&place).await);
    for reporter in [&here, &elsewhere] {
        let lease = lend(&here).await;
        let waiter = ask(&here, waiting(LONG));
        until(|| here.waiting() == 1).await;
        once(reporter).report(&lease, unused()).await.unwrap();
        let lent = within(waiter).await.unwrap().unwrap();
        once(reporter).report(lent.lease(), unused()).await.unwrap();
        lent.answered();
    }
    assert_eq!(here.waiting(), 0);
}

async fn who_came_first_is_served_first(place: Place) {
    let pools = with_keys(&place, 1).await;
    let mut lease = lend(&pools).await;
    let (served, mut order) = mpsc::unbounded_channel();
    for number in 0..5 {
        let (waiter, served) = (ask(&pools, waiting(LONG)), served.clone());
        tokio::spawn(async move { served.send((number, waiter.await.unwrap().unwrap())).ok().unwrap() });
        until(|| pools.waiting() == number + 1).await;
    }
    for expected in 0..5 {
        once(&pools).report(&lease, unused()).await.unwrap();
        let (number, lent) = within(order.recv()).await.unwrap();
        assert_eq!(number, expected);
        lease = lent.lease().clone();
        lent.answered();
    }
}

async fn a_key_that_rests_is_handed_out_when_its_rest_is_over(place: Place) {
    let pools = with_keys(&place, 1).await;
    let lease = lend(&pools).await;
    let rest = Report::new(Outcome::RateLimited, Some(Duration::from_secs(1))).unwrap();
    once(&pools).report(&lease, rest).await.unwrap();
    within(ask(&pools, waiting(LONG))).await.unwrap().unwrap().answered();
}

async fn a_lease_that_lapses_frees_its_key_in_a_refund_pool(place: Place) {
    let policy = Policy::new("once".parse().unwrap(), Picks::LeastRecentlyUsed, 1);
    let policy = Policy { lapsed: keylend::domain::Lapsed::Refund, ..policy };
    let pools = Pools::new(place.store().await, [policy], serving(TIME_LIMIT));
    pools.prepare().await.unwrap();
    once(&pools).add(&[NewKey::fresh(Secret::parse("sk-0").unwrap())]).await.unwrap();
    let short = Ask { ttl: Some(Duration::from_secs(1)), ..Ask::default() };
    // Its answer can be late on a slow machine, and is then no answer: the next one comes.
    let deadline = Instant::now() + PATIENCE;
    while once(&pools).lease(short.clone()).await.map(Lent::answered).is_err() {
        assert!(Instant::now() < deadline);
    }
    within(ask(&pools, waiting(LONG))).await.unwrap().unwrap().answered();
}

async fn a_spent_or_empty_pool_is_told_of_at_once(place: Place) {
    let pools = instance(&place).await;
    let none = |answer: Result<Lent, PoolError>| matches!(answer, Err(PoolError::NoUsableKey { .. }));
    assert!(none(within(ask(&pools, waiting(LONG))).await.unwrap()));
    once(&pools).add(&[NewKey::fresh(Secret::parse("sk-0").unwrap())]).await.unwrap();
    let lease = lend(&pools).await;
    let waiters = [ask(&pools, waiting(LONG)), ask(&pools, waiting(LONG))];
    until(|| pools.waiting() == 2).await;
    // The last use is counted: nothing can become free any more, and whoever waits is told.
    once(&pools).report(&lease, Report::new(Outcome::Used, None).unwrap()).await.unwrap();
    for waiter in waiters {
        assert!(none(within(waiter).await.unwrap()));
    }
}

async fn a_wait_has_an_end(place: Place) {
    let pools = with_keys(&place, 1).await;
    let _lease = lend(&pools).await;
    let long = ask(&pools, waiting(LONG));
    until(|| pools.waiting() == 1).await;
    // At the head of the line and behind it.
    for wait in [Duration::ZERO, Duration::from_millis(50)] {
        let answer = within(ask(&pools, waiting(wait))).await.unwrap();
        let Err(PoolError::NoUsableKey { stats, .. }) = answer else { panic!("a key of nowhere") };
        assert_eq!(stats.leased, 1);
    }
    long.abort();
    until(|| pools.waiting() == 0).await;
    let answer = within(ask(&pools, waiting(Duration::from_millis(50)))).await.unwrap();
    assert!(matches!(answer, Err(PoolError::NoUsableKey { .. })));
}

async fn who_leaves_leaves_the_line_and_no_lease(place: Place) {
    let pools = with_keys(&place, 1).await;
    let lease = lend(&pools).await;
    let leaving = ask(&pools, waiting(LONG));
    until(|| pools.waiting() == 1).await;
    let staying = ask(&pools, waiting(LONG));
    until(|| pools.waiting() == 2).await;
    leaving.abort();
    assert!(leaving.await.is_err());
    once(&pools).report(&lease, unused()).await.unwrap();
    within(staying).await.unwrap().unwrap().answered();
    pools.settle(PATIENCE).await;
    // Stats can be a moment old.
    let deadline = Instant::now() + PATIENCE;
    while once(&pools).stats().await.unwrap().leased != 1 {
        assert!(Instant::now() < deadline);
    }
}

async fn waiters_have_a_cap_and_are_all_answered_when_the_instance_stops(place: Place) {
    let pools = with_keys(&place, 1).await;
    let lease = lend(&pools).await;
    let waiters: Vec<_> = (0..1000).map(|_| ask(&pools, waiting(LONG))).collect();
    until(|| pools.waiting() == 1000).await;
    let answer = within(ask(&pools, waiting(LONG))).await.unwrap();
    assert!(matches!(answer, Err(PoolError::Overloaded)));
    // They keep out nobody else.
    once(&pools).renew(&lease, Duration::from_secs(300)).await.unwrap();
    assert!(pools.check_ready().await.is_ok());
    pools.stop_waiting();
    for waiter in waiters {
        assert!(matches!(within(waiter).await.unwrap(), Err(PoolError::NoUsableKey { .. })));
    }
    once(&pools).report(&lease, unused()).await.unwrap();
}

async fn a_repeated_request_does_not_wait_behind_others(place: Place) {
    let pools = with_keys(&place, 1).await;
    let same = || Ask { idempotency_key: Some("order-1".to_owned()), ..waiting(LONG) };
    let first = within(ask(&pools, same())).await.unwrap().unwrap();
    let lease = first.lease().clone();
    first.answered();
    let waiter = ask(&pools, waiting(LONG));
    until(|| pools.waiting() == 1).await;
    let again = within(ask(&pools, same())).await.unwrap().unwrap();
    assert!(!again.is_new() && *again.lease() == lease);
    waiter.abort();
}
