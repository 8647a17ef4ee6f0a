//! The limits of keys and callers, met by many callers over three instances in one process.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use keylend::domain::{KeyId, KeyRef, NewKey, Outcome, Picks, Policy, Report, Secret};
use keylend::pool::{Ask, Pool, PoolError, Pools};
use keylend::store::FoundKey;

use crate::combine::serving;
use crate::place::{Place, TIME_LIMIT};
use crate::support::raw::{Monitor, Raw, Uses};
use crate::support::{fill, within};

const TASKS: usize = 64;

on_both_stores!(
    a_pool_of_one_use_per_key_gives_each_key_once,
    find_usable_key_takes_what_max_uses_lets_in_and_nothing_else,
    keys_found_while_others_lease_are_never_over_max_uses,
    takes_and_leases_together_use_every_use_once,
    a_crowd_of_640_on_one_instance_gets_640_different_keys,
);

fn policy(picks: Picks, uses_per_key: u32) -> Policy {
    Policy::new("limits".parse().unwrap(), picks, uses_per_key)
}

/// The pool as three instances have it.
async fn instances(place: &Place, policy: &Policy) -> Vec<Pool> {
    let mut instances = Vec::new();
    for _ in 0..3 {
        let pools = Pools::new(place.store().await, [policy.clone()], serving(TIME_LIMIT));
        pools.prepare().await.unwrap();
        instances.push(pools.get("limits").unwrap().clone());
    }
    instances
}

/// What `count` callers get who ask at once, each instance in turn.
async fn all_at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    instances: &[Pool],
    count: usize,
    ask: impl Fn(Pool) -> F,
) -> Vec<T> {
    let asked = (0..count).map(|number| tokio::spawn(ask(instances[number % instances.len()].clone())));
    let answers = within("all answers", join_all(asked)).await;
    answers.into_iter().collect::<Result<_, _>>().unwrap()
}

/// Leases a key and reports it. False = there was none.
async fn use_one(pool: &Pool, outcome: Outcome) -> bool {
    let lent = match pool.lease(Ask::default()).await {
        Ok(lent) => lent,
        Err(PoolError::NoUsableKey { .. }) => return false,
        Err(error) => panic!("{}", error.chain()),
    };
    let lease = lent.lease().clone();
    lent.answered();
    pool.report(&lease, Report::new(outcome, None).unwrap()).await.unwrap();
    true
}

async fn count(pool: &Pool, key: KeyId, uses: u64) {
    for _ in 0..uses {
        pool.increment_usage(&KeyRef::Id(key)).await.unwrap();
    }
}

async fn a_pool_of_one_use_per_key_gives_each_key_once(place: Place) {
    let policy = policy(Picks::LeastRecentlyUsed, 1);
    fill(&place, &policy, 20).await;
    let monitor = Monitor::start(&place, &policy).await;
    let instances = instances(&place, &policy).await;
    let answers = all_at_once(&instances, TASKS, |pool| async move {
        pool.lease(Ask::default()).await.map(|lent| {
            let key = lent.lease().key;
            lent.answered();
            key
        })
    });
    let (leased, refused): (Vec<_>, Vec<_>) = answers.await.into_iter().partition(Result::is_ok);
    let keys: HashSet<KeyId> = leased.into_iter().flatten().collect();
    assert_eq!(keys.len(), 20, "each key once");
    assert_eq!(refused.len(), TASKS - 20);
    for refusal in refused {
        assert!(matches!(refusal, Err(PoolError::NoUsableKey { .. })), "{refusal:?}");
    }
    monitor.saw_no_key_overused().await;
    let uses = Raw::open(&place, &policy).await.uses().await;
    assert!(uses.values().all(|uses| *uses == Uses { counted: 0, open: 1 }), "{uses:?}");
}

async fn find_usable_key_takes_what_max_uses_lets_in_and_nothing_else(place: Place) {
    let policy = policy(Picks::LeastRecentlyUsed, 4);
    let instances = instances(&place, &policy).await;
    let pool = &instances[0];
    // One key with one counted and two on lease, then one key each of 0 to 6 counted.
    let mut taken: BTreeMap<KeyId, u64> = BTreeMap::new();
    pool.add(&[NewKey::fresh(Secret::parse("sk-leased").unwrap())]).await.unwrap();
    for _ in 0..2 {
        let lent = pool.lease(Ask::default()).await.unwrap();
        taken.insert(lent.lease().key, 3);
        lent.answered();
    }
    count(pool, *taken.keys().next().unwrap(), 1).await;
    let fresh: Vec<Secret> = (0..=6).map(|number| Secret::parse(&format!("sk-{number}")).unwrap()).collect();
    pool.add(&fresh.iter().cloned().map(NewKey::fresh).collect::<Vec<_>>()).await.unwrap();
    for (secret, counted) in fresh.into_iter().zip(0..) {
        let id = pool.look_up(&KeyRef::Secret(secret)).await.unwrap().value.id;
        count(pool, id, counted).await;
        taken.insert(id, counted);
    }
    for (max_uses, most) in [(Some(0), 0), (Some(3), 3), (Some(9), 9), (None, 3)] {
        let found = all_at_once(&instances, TASKS, move |pool| async move { pool.find_usable_key(max_uses).await });
        let found: HashSet<KeyId> = found.await.into_iter().map(|found| found.unwrap().id).collect();
        let expected = taken.iter().filter(|(_, taken)| **taken <= most).map(|(id, _)| *id).collect();
        assert_eq!(found, expected, "with max_uses {max_uses:?}");
    }
    // With one use of the last fresh key counted, nothing is left for those who want a fresh one.
    let (fresh, _) = taken.iter().find(|(_, taken)| **taken == 0).unwrap();
    count(pool, *fresh, 1).await;
    for answer in all_at_once(&instances, TASKS, |pool| async move { pool.find_usable_key(Some(0)).await }).await {
        assert!(matches!(answer, Err(PoolError::NoUsableKey { .. })), "{answer:?}");
    }
}

async fn keys_found_while_others_lease_are_never_over_max_uses(place: Place) {
    let policy = policy(Picks::LeastRecentlyUsed, 4);
    fill(&place, &policy, 10).await;
    let monitor = Monitor::start(&place, &policy).await;
    let instances = instances(&place, &policy).await;
    let spent = Arc::new(AtomicBool::new(false));
    let finders = [0, 1, 3, 9].map(|max_uses| {
        let (pool, spent) = (instances[max_uses as usize % 3].clone(), Arc::clone(&spent));
        tokio::spawn(async move {
            let mut found = 0;
            while !spent.load(Ordering::Relaxed) {
                match pool.find_usable_key(Some(max_uses)).await {
                    Ok(FoundKey { usage_count, .. }) => {
                        assert!(usage_count <= u64::from(max_uses), "{usage_count} with max_uses {max_uses}");
                        found += 1;
                    }
                    Err(PoolError::NoUsableKey { .. }) => {}
                    Err(error) => panic!("{}", error.chain()),
                }
            }
            found
        })
    });
    let used = all_at_once(&instances, TASKS, |pool| async move { use_one(&pool, Outcome::Used).await }).await;
    spent.store(true, Ordering::Relaxed);
    assert_eq!(used.into_iter().filter(|used| *used).count(), 40);
    let found = within("the finders", join_all(finders)).await;
    let found: Vec<u32> = found.into_iter().collect::<Result<_, _>>().unwrap();
    assert!(found[3] > 0, "keys over the pool's own limit can be found: {found:?}");
    monitor.saw_no_key_overused().await;
}

async fn takes_and_leases_together_use_every_use_once(place: Place) {
    let policy = policy(Picks::InOrder, 10);
    fill(&place, &policy, 12).await;
    let monitor = Monitor::start(&place, &policy).await;
    let instances = instances(&place, &policy).await;
    let store = place.store().await;
    // Of those who lease, every other one gives its use back.
    let used = [Outcome::Used, Outcome::Unused].map(|outcome| {
        all_at_once(&instances, TASKS / 4, move |pool| async move {
            let mut used = 0;
            while use_one(&pool, outcome).await {
                used += u32::from(outcome == Outcome::Used);
            }
            used
        })
    });
    let taken = all_at_once(&instances, TASKS / 2, |pool| {
        let store = Arc::clone(&store);
        async move {
            let mut uses = 0;
            while let Some(taken) = store.take(pool.policy(), rand::random_range(1..=3)).await.unwrap() {
                assert!(taken.uses >= 1 && taken.usage_count <= 10, "{taken:?}");
                uses += taken.uses;
            }
            uses
        }
    });
    let [used, unused] = used;
    let (used, unused, taken) = tokio::join!(used, unused, taken);
    let [used, unused, taken] = [used, unused, taken].map(|uses| uses.into_iter().sum::<u32>());
    // Who found all of it out on lease has stopped before some of it came back.
    let mut rest = 0;
    while use_one(&instances[0], Outcome::Used).await {
        rest += 1;
    }
    monitor.saw_no_key_overused().await;
    println!("takes and leases: {taken} taken, {used} leased, {rest} left over");
    assert_eq!((used + unused + taken + rest, unused), (120, 0));
    let uses = Raw::open(&place, &policy).await.uses().await;
    assert!(uses.values().all(|uses| *uses == Uses { counted: 10, open: 0 }), "{uses:?}");
}

async fn a_crowd_of_640_on_one_instance_gets_640_different_keys(place: Place) {
    let policy = policy(Picks::LeastRecentlyUsed, 4);
    fill(&place, &policy, 1000).await;
    // The last of the crowd waits for all the others: its turn is bounded by half of this.
    let patience = std::time::Duration::from_secs(600);
    let pools = Pools::new(place.store().await, [policy], serving(patience));
    pools.prepare().await.unwrap();
    let instance = [pools.get("limits").unwrap().clone()];
    let found = all_at_once(&instance, 320, |pool| async move { pool.find_usable_key(None).await.unwrap().id }).await;
    let leased = all_at_once(&instance, 320, |pool| async move {
        let lent = pool.lease(Ask::default()).await.unwrap();
        let id = lent.key().id;
        lent.answered();
        id
    })
    .await;
    assert_eq!(found.into_iter().chain(leased).collect::<HashSet<_>>().len(), 640);
}
