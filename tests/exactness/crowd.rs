//! Three processes with 64 callers each on one pool of 50 keys, 4 uses each: 200 uses, whatever happens.

use std::collections::{BTreeMap, HashMap, HashSet};

use keylend::domain::{Picks, Policy};

use crate::combine;
use crate::place::Place;
use crate::support::member::{Event, Member, Outcome, Plan};
use crate::support::raw::{Monitor, Raw, Seen, Uses};
use crate::support::{fill, within};

const KEYS: usize = 50;
const USES: u32 = 4;
const ALL: usize = KEYS * USES as usize;

/// The most callers that go to the store in one step.
const TOGETHER: usize = 64;

on_both_stores!(
    a_crowd_in_three_processes_gets_every_use_once,
    leases_that_lapse_under_a_crowd_are_counted_once,
    a_killed_process_costs_no_use_and_gives_none_twice,
);

fn policy(name: &str) -> Policy {
    Policy::new(name.parse().unwrap(), Picks::LeastRecentlyUsed, USES)
}

async fn a_crowd_in_three_processes_gets_every_use_once(place: Place) {
    let pool = policy("crowd");
    fill(&place, &pool, KEYS).await;
    let monitor = Monitor::start(&place, &pool).await;
    let told = all_ended(crowd(&place, &pool, [&[], &[], &[]]).await).await;
    look_at("crowd", &told, &monitor.saw_no_key_overused().await);

    let granted = told.granted();
    assert_eq!(granted.len(), ALL, "as many leases as there are uses");
    let entries: HashSet<&str> = granted.iter().map(|(_, entry, _)| *entry).collect();
    assert_eq!(entries.len(), ALL, "all of them different");
    let mut per_key: BTreeMap<&str, u32> = BTreeMap::new();
    granted.iter().for_each(|(key, ..)| *per_key.entry(key).or_default() += 1);
    assert_eq!((per_key.len(), per_key.values().all(|uses| *uses == USES)), (KEYS, true), "{per_key:?}");
    assert_eq!(told.reported(Outcome::Used).len(), ALL);
    // No process keeps the others out; a third each would be even.
    assert!(told.shares().iter().all(|share| *share > 5), "{:?}", told.shares());
    every_key_is_spent(&place, &pool).await;
}

async fn leases_that_lapse_under_a_crowd_are_counted_once(place: Place) {
    // Where the machine is so slow that an answer takes longer than its lease lasts, no caller gets one that it
    // could report too late: once more, with longer ones.
    for ttl in ["100ms", "1s", "10s"] {
        if reports_that_came_too_late(&place, ttl).await > 0 {
            return;
        }
    }
    panic!("no report came too late");
}

/// How many of a crowd's reports came too late, where leases last `ttl`.
async fn reports_that_came_too_late(place: &Place, ttl: &str) -> usize {
    let pool = policy(&format!("lapsing_{ttl}"));
    fill(place, &pool, KEYS).await;
    let monitor = Monitor::start(place, &pool).await;
    // A third each is reported, reported too late, and never reported.
    let arguments: &[&str] = &["--ttl", ttl, "--forgotten", "33", "--late", "33"];
    let told = all_ended(crowd(place, &pool, [arguments; 3]).await).await;
    look_at("lapsing", &told, &monitor.saw_no_key_overused().await);

    // What was not given back is counted, whether it was reported, lapsed, or came too late to be answered.
    let leased = told.leased();
    assert_eq!(leased.len(), told.count(|event| matches!(event, Event::Leased { .. })), "leases are distinct");
    let given_back = told.given_back();
    assert!(given_back.iter().all(|entry| leased.contains_key(entry)));
    // Never more than there are uses. One by one each answer tells its lease. Together, it is read afterwards, and can
    // have lapsed by then: a use that nobody was told of is counted all the same, as it must be.
    let told_of = leased.len() - given_back.len();
    assert!(told_of <= ALL, "{told_of} hand-outs were not given back");
    let fewest = if matches!(place, Place::Database(_)) && combine::is_on() { 0 } else { ALL };
    assert!(told_of >= fewest, "only {told_of} hand-outs were told");
    let granted = told.granted();
    assert!(granted.iter().all(|(key, entry, _)| leased.get(entry) == Some(key) && !given_back.contains(entry)));
    // A lease that has lapsed takes no report: it is counted already.
    let used: HashSet<&str> = told.reported(Outcome::Used);
    for (_, entry, plan) in granted {
        assert!(plan == Plan::Report || !used.contains(entry), "a lapsed lease took a report");
    }
    every_key_is_spent(place, &pool).await;
    told.reported(Outcome::Gone).len()
}

async fn a_killed_process_costs_no_use_and_gives_none_twice(place: Place) {
    let pool = policy("killed");
    fill(&place, &pool, KEYS).await;
    let monitor = Monitor::start(&place, &pool).await;
    let arguments: &[&str] = &["--ttl", "2s", "--hold", "100ms"];
    // It holds what it gets until it is killed, with all of that open.
    let holding: &[&str] = &["--ttl", "2s", "--hold", "60s", "--name", "victim"];
    let [one, other, mut victim] = crowd(&place, &pool, [arguments, arguments, holding]).await;
    victim.told(10, |event| matches!(event, Event::Granted { .. })).await;
    let last_words = Told(victim.killed().await);
    let mut again = Member::start(&place, &pool, arguments).await;
    again.go().await;
    let mut told = all_ended([one, other, again]).await;
    assert!(last_words.granted().len() >= 10);
    assert_eq!(last_words.count(|event| matches!(event, Event::Reported { .. })), 0);
    told.0.extend(last_words.0.iter().cloned());
    look_at("killed", &told, &monitor.saw_no_key_overused().await);

    let granted = told.granted();
    let entries: HashSet<&str> = granted.iter().map(|(_, entry, _)| *entry).collect();
    assert_eq!(entries.len(), granted.len(), "no lease is handed out twice");
    let mut per_key: BTreeMap<&str, u32> = BTreeMap::new();
    told.leased().values().for_each(|key| *per_key.entry(key).or_default() += 1);
    told.given_back().iter().for_each(|entry| *per_key.get_mut(told.leased()[entry]).unwrap() -= 1);
    assert!(per_key.values().all(|uses| *uses <= USES), "{per_key:?}");
    // One step at a time is under way in a process: no more than its hand-outs can have been lost with it.
    let lost = if combine::is_on() { TOGETHER } else { 1 };
    let handed_out: u32 = per_key.values().sum();
    assert!((ALL - lost..=ALL).contains(&(handed_out as usize)), "{handed_out} uses were handed out");
    every_key_is_spent(&place, &pool).await;
}

/// Three members that begin together on one pool, with these arguments.
async fn crowd(place: &Place, pool: &Policy, arguments: [&[&str]; 3]) -> [Member; 3] {
    let [one, two, three] = arguments.map(|arguments| Member::start(place, pool, arguments));
    let (mut one, mut two, mut three) = tokio::join!(one, two, three);
    tokio::join!(one.go(), two.go(), three.go());
    [one, two, three]
}

/// What several members told.
struct Told(Vec<Event>);

impl Told {
    fn count(&self, like: impl Fn(&Event) -> bool) -> usize {
        self.0.iter().filter(|event| like(event)).count()
    }

    /// The entry of every lease that a store made, with its key.
    fn leased(&self) -> HashMap<&str, &str> {
        let leased = self.0.iter().filter_map(|event| match event {
            Event::Leased { key, entry } => Some((entry.as_str(), key.as_str())),
            _ => None,
        });
        leased.collect()
    }

    /// How many leases each member that came to its end had.
    fn shares(&self) -> Vec<u64> {
        let shares = self.0.iter().filter_map(|event| match event {
            Event::Done { leased, .. } => Some(*leased),
            _ => None,
        });
        shares.collect()
    }

    fn given_back(&self) -> HashSet<&str> {
        let given_back = self.0.iter().filter_map(|event| match event {
            Event::GivenBack { entry } => Some(entry.as_str()),
            _ => None,
        });
        given_back.collect()
    }

    /// Key, entry and plan of every lease that a caller got.
    fn granted(&self) -> Vec<(&str, &str, Plan)> {
        let granted = self.0.iter().filter_map(|event| match event {
            Event::Granted { key, entry, plan } => Some((key.as_str(), entry.as_str(), *plan)),
            _ => None,
        });
        granted.collect()
    }

    fn reported(&self, as_what: Outcome) -> HashSet<&str> {
        let reported = self.0.iter().filter_map(|event| match event {
            Event::Reported { entry, outcome } if *outcome == as_what => Some(entry.as_str()),
            _ => None,
        });
        reported.collect()
    }
}

async fn all_ended(members: [Member; 3]) -> Told {
    let [one, two, three] = members;
    let (one, two, three) = within("the crowd", async { tokio::join!(one.ended(), two.ended(), three.ended()) }).await;
    Told([one, two, three].concat())
}

async fn every_key_is_spent(place: &Place, pool: &Policy) {
    let uses = Raw::open(place, pool).await.uses().await;
    assert_eq!(uses.len(), KEYS);
    assert!(uses.values().all(|uses| *uses == Uses { counted: u64::from(USES), open: 0 }), "{uses:?}");
}

/// Asserts that the monitor saw the crowd at work. The numbers are for people who look (`--nocapture`).
fn look_at(name: &str, told: &Told, seen: &Seen) {
    assert!(seen.busy > 0, "the monitor saw no open lease: {seen:?}");
    let took = told.0.iter().filter_map(|event| match event {
        Event::Done { duration_ms, .. } => Some(*duration_ms),
        _ => None,
    });
    println!(
        "{name}: {} leases ({} granted, {} given back, {} reports too late), by member {:?}, in {} ms, {} samples, {} \
         with leases open",
        told.leased().len(),
        told.granted().len(),
        told.given_back().len(),
        told.reported(Outcome::Gone).len(),
        told.shares(),
        took.max().unwrap_or_default(),
        seen.samples,
        seen.busy,
    );
}
