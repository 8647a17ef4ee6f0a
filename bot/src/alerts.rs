//! What there is to announce: a state machine over one look at the statistics after the other, pure.
//!
//! A pool has one of three levels. Worse is told at once. Better is told when two looks in a row found it so, and a pool
//! is not low any more only well above its threshold: a pool that goes up and down around a boundary is told of once.

use std::collections::{BTreeMap, BTreeSet};

use keylend::config::AlertLow;
use serde::{Deserialize, Serialize};

use crate::snapshot::{HEALTH, PLANT, Pool, Snapshot};

/// How many looks in a row have to find the statistics gone, or back, before it is so.
const LOOKS: u32 = 2;

/// How many pools are remembered that the statistics tell of no more.
const REMEMBERED: usize = 1000;

/// One thing to announce. `pool` is its name, `keys` the number of its keys with uses left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are told of above")]
pub enum Alert {
    /// The pool came to its threshold.
    Low { pool: String, keys: u64 },
    /// No key of it has uses left.
    Dry { pool: String },
    /// It has keys with uses again, but few.
    NoLongerDry { pool: String, keys: u64 },
    /// It is neither low nor dry any more.
    Recovered { pool: String, keys: u64 },
    /// So many more keys are disabled because their provider rejected them, `now` in all.
    Rejected { pool: String, more: u64, now: u64 },
    /// So many more keys are wanted from people, `now` in all.
    Wanted { pool: String, more: u64, now: u64 },
    /// The statistics cannot be had.
    Away { why: String },
    /// They can be had again.
    Back,
}

/// How much there is left in a pool, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    #[default]
    Enough,
    Low,
    Dry,
}

/// What was announced: all that has to survive a restart, and what the last looks found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announced {
    /// Whether it was said that the statistics cannot be had.
    away: bool,
    pools: BTreeMap<String, AnnouncedPool>,
    /// How many looks in a row found the statistics other than announced.
    #[serde(skip)]
    otherwise: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnnouncedPool {
    level: Level,
    /// How many of its keys were rejected; None = it was not said.
    rejected: Option<u64>,
    /// How many keys people were asked for.
    #[serde(default)]
    key_requests: u64,
    /// What the last look found, where that is better than announced.
    #[serde(skip)]
    better: Option<Level>,
}

/// What a look found of a pool.
struct Found<'a> {
    pool: &'a str,
    /// Its keys with uses left.
    keys: u64,
    /// None = it was not said.
    total: Option<u64>,
    rejected: Option<u64>,
    key_requests: Option<u64>,
}

impl Announced {
    /// Whether all that survives a restart is the same.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let kept = |pool: &AnnouncedPool| (pool.level, pool.rejected, pool.key_requests);
        let pools = |announced: &Self| announced.pools.iter().map(|(name, pool)| (name.clone(), kept(pool))).collect();
        let (mine, others): (Vec<_>, Vec<_>) = (pools(self), pools(other));
        self.away == other.away && mine == others
    }

    /// What is announced after this look, and what there is to say before that is so. `look` is the snapshot, or why
    /// there is none.
    pub fn after(&self, look: Result<&Snapshot, &str>, low: &AlertLow) -> (Self, Vec<Alert>) {
        let mut next = self.clone();
        let mut alerts = Vec::new();
        next.otherwise = if look.is_err() == next.away { 0 } else { next.otherwise + 1 };
        if next.otherwise == LOOKS {
            next.otherwise = 0;
            next.away = look.is_err();
            alerts.push(match look {
                Ok(_) => Alert::Back,
                Err(why) => Alert::Away { why: why.to_owned() },
            });
        }
        if let Ok(snapshot) = look {
            let found = found(snapshot);
            for found in &found {
                next.look_at(found, low.of(found.pool), &mut alerts);
            }
            if next.pools.len() > REMEMBERED {
                let told: BTreeSet<&str> = found.iter().map(|found| found.pool).collect();
                next.pools.retain(|pool, _| told.contains(pool.as_str()));
            }
        }
        (next, alerts)
    }

    fn look_at(&mut self, found: &Found<'_>, low: u64, alerts: &mut Vec<Alert>) {
        // A pool that never had a key is nobody's concern, unless one is wanted.
        let is_unknown = found.total == Some(0) && !self.pools.contains_key(found.pool);
        if is_unknown && found.key_requests.unwrap_or(0) == 0 {
            return;
        }
        let announced = self.pools.entry(found.pool.to_owned()).or_default();
        let (pool, keys) = (found.pool.to_owned(), found.keys);
        let (before, now) = (announced.level, level(keys, low, announced.level));
        let found_before = std::mem::replace(&mut announced.better, (now < before).then_some(now));
        if now > before || found_before == Some(now) {
            announced.better = None;
            announced.level = now;
            alerts.push(match now {
                Level::Dry => Alert::Dry { pool: pool.clone() },
                Level::Low if before == Level::Dry => Alert::NoLongerDry { pool: pool.clone(), keys },
                Level::Low => Alert::Low { pool: pool.clone(), keys },
                Level::Enough => Alert::Recovered { pool: pool.clone(), keys },
            });
        }
        if let Some(now) = found.rejected {
            // What was rejected before the bot first looked is no news.
            let more = now.saturating_sub(announced.rejected.unwrap_or(now));
            if more > 0 {
                alerts.push(Alert::Rejected { pool: pool.clone(), more, now });
            }
            announced.rejected = Some(now);
        }
        if let Some(now) = found.key_requests {
            // What was wanted before the bot first looked still is.
            let more = now.saturating_sub(announced.key_requests);
            if more > 0 {
                alerts.push(Alert::Wanted { pool, more, now });
            }
            announced.key_requests = now;
        }
    }
}

/// The level of a pool with so many keys. From low it comes up to enough only by half of the threshold more.
fn level(keys: u64, low: u64, before: Level) -> Level {
    let enough = if before == Level::Enough { low } else { low.saturating_add(low / 2) };
    match keys {
        0 => Level::Dry,
        keys if keys <= enough => Level::Low,
        _ => Level::Enough,
    }
}

/// The pools of a look of which it is known how much is left.
fn found(snapshot: &Snapshot) -> Vec<Found<'_>> {
    let file = |pool, keys: Option<u64>| {
        keys.map(|keys| Found { pool, keys, total: None, rejected: None, key_requests: None })
    };
    if snapshot.pools.is_empty() {
        let both = [file(PLANT, snapshot.plant.available), file(HEALTH, snapshot.health.available)];
        return both.into_iter().flatten().collect();
    }
    let of_pool = |pool| -> Option<Found<'_>> {
        let keys = Pool::with_uses_left(pool)?;
        let Pool { name, total, rejected, key_requests, .. } = pool;
        Some(Found { pool: name, keys, total: *total, rejected: *rejected, key_requests: *key_requests })
    };
    snapshot.pools.iter().filter_map(of_pool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::FilePool;

    fn low() -> AlertLow {
        AlertLow { others: 4, pools: BTreeMap::from([("never".to_owned(), 0)]) }
    }

    /// A look at one pool with so many usable keys.
    fn pool(name: &str, usable: u64) -> Pool {
        Pool { name: name.to_owned(), usable: Some(usable), total: Some(50), rejected: Some(0), ..Pool::default() }
    }

    fn look(pools: Vec<Pool>) -> Snapshot {
        Snapshot { pools, ..Snapshot::default() }
    }

    /// What is said in each of these looks at one pool.
    fn said(name: &str, keys: &[u64]) -> Vec<String> {
        let mut announced = Announced::default();
        let mut said = Vec::new();
        for keys in keys {
            let (next, alerts) = announced.after(Ok(&look(vec![pool(name, *keys)])), &low());
            announced = next;
            said.push(alerts.iter().map(short).collect::<Vec<_>>().join("+"));
        }
        said
    }

    fn short(alert: &Alert) -> String {
        match alert {
            Alert::Low { keys, .. } => format!("low {keys}"),
            Alert::Dry { .. } => "dry".to_owned(),
            Alert::NoLongerDry { keys, .. } => format!("some {keys}"),
            Alert::Recovered { keys, .. } => format!("enough {keys}"),
            Alert::Rejected { more, now, .. } => format!("rejected {more} of {now}"),
            Alert::Wanted { more, now, .. } => format!("wanted {more} of {now}"),
            Alert::Away { why } => format!("away {why}"),
            Alert::Back => "back".to_owned(),
        }
    }

    #[test]
    fn each_transition_is_said_once() {
        for (keys, expected) in [
            (vec![9, 9, 9], vec!["", "", ""]),
            (vec![9, 5, 4, 4, 3, 1], vec!["", "", "low 4", "", "", ""]),
            (vec![9, 4, 0, 0, 0], vec!["", "low 4", "dry", "", ""]),
            (vec![9, 0, 0], vec!["", "dry", ""]),
            // As it was found at the first start.
            (vec![0, 0], vec!["dry", ""]),
            (vec![2, 2], vec!["low 2", ""]),
            // Better is said when it lasts.
            (vec![0, 9, 9, 9], vec!["dry", "", "enough 9", ""]),
            (vec![2, 7, 8, 8], vec!["low 2", "", "enough 8", ""]),
            (vec![0, 1, 2, 2], vec!["dry", "", "some 2", ""]),
            (vec![0, 1, 1, 9, 9], vec!["dry", "", "some 1", "", "enough 9"]),
            (vec![0, 1, 9, 3, 3], vec!["dry", "", "", "", "some 3"]),
            (vec![0, 1, 9, 9], vec!["dry", "", "", "enough 9"]),
            // And then the next time is said again.
            (vec![0, 9, 9, 0, 9, 9, 3], vec!["dry", "", "enough 9", "dry", "", "enough 9", "low 3"]),
        ] {
            assert_eq!(said("stability", &keys), expected, "{keys:?}");
        }
    }

    #[test]
    fn up_and_down_around_a_boundary_is_said_once() {
        for (keys, expected) in [
            (vec![9, 4, 5, 4, 5, 5, 5, 4], vec!["", "low 4", "", "", "", "", "", ""]),
            (vec![9, 4, 6, 6, 6, 4], vec!["", "low 4", "", "", "", ""]),
            (vec![4, 7, 4, 7, 4, 7], vec!["low 4", "", "", "", "", ""]),
            (vec![0, 1, 0, 1, 0, 1, 0], vec!["dry", "", "", "", "", "", ""]),
            (vec![0, 9, 0, 9, 0], vec!["dry", "", "", "", ""]),
        ] {
            assert_eq!(said("stability", &keys), expected, "{keys:?}");
        }
    }

    #[test]
    fn a_threshold_of_its_own_can_say_never() {
        assert_eq!(said("never", &[9, 1, 0, 1, 1]), ["", "", "dry", "", "enough 1"]);
    }

    #[test]
    fn keys_that_rest_have_uses_left() {
        let mut resting = pool("stability", 0);
        resting.resting = Some(9);
        let (_, alerts) = Announced::default().after(Ok(&look(vec![resting])), &low());
        assert_eq!(alerts, []);
    }

    #[test]
    fn a_pool_without_keys_is_told_of_only_if_it_had_some() {
        let empty = || look(vec![Pool { total: Some(0), ..pool("stability", 0) }]);
        let (announced, alerts) = Announced::default().after(Ok(&empty()), &low());
        assert_eq!(alerts, []);
        let (announced, alerts) = announced.after(Ok(&look(vec![pool("stability", 9)])), &low());
        assert_eq!(alerts, []);
        let (_, alerts) = announced.after(Ok(&empty()), &low());
        assert_eq!(alerts, [Alert::Dry { pool: "stability".to_owned() }]);
    }

    #[test]
    fn keys_that_are_rejected_after_the_first_look_are_told_of() {
        let mut announced = Announced::default();
        let mut said = Vec::new();
        for rejected in [Some(3), Some(3), Some(5), None, Some(5), Some(2), Some(3)] {
            let (next, alerts) = announced.after(Ok(&look(vec![Pool { rejected, ..pool("a", 9) }])), &low());
            announced = next;
            said.push(alerts.iter().map(short).collect::<Vec<_>>().join("+"));
        }
        assert_eq!(said, ["", "", "rejected 2 of 5", "", "", "", "rejected 1 of 3"]);
    }

    #[test]
    fn keys_that_are_wanted_are_told_of_once_and_again_when_more_are() {
        let mut announced = Announced::default();
        let mut said = Vec::new();
        for key_requests in [Some(2), Some(2), Some(3), None, Some(1), Some(2), Some(0)] {
            let (next, alerts) = announced.after(Ok(&look(vec![Pool { key_requests, ..pool("a", 9) }])), &low());
            announced = next;
            said.push(alerts.iter().map(short).collect::<Vec<_>>().join("+"));
        }
        assert_eq!(said, ["wanted 2 of 2", "", "wanted 1 of 3", "", "", "wanted 1 of 2", ""]);
        let empty = look(vec![Pool { total: Some(0), key_requests: Some(1), ..pool("a", 0) }]);
        let said: Vec<String> = Announced::default().after(Ok(&empty), &low()).1.iter().map(short).collect();
        assert_eq!(said, ["dry", "wanted 1 of 1"]);
    }

    #[test]
    fn the_statistics_are_away_and_back_when_two_looks_say_so() {
        let there = look(vec![pool("a", 9)]);
        let mut announced = Announced::default();
        let mut said = Vec::new();
        for is_there in [true, false, true, false, false, false, true, false, true, true, true, false, false] {
            let look = if is_there { Ok(&there) } else { Err("timed out") };
            let (next, alerts) = announced.after(look, &low());
            announced = next;
            said.push(alerts.iter().map(short).collect::<Vec<_>>().join("+"));
        }
        let expected = ["", "", "", "", "away timed out", "", "", "", "", "back", "", "", "away timed out"];
        assert_eq!(said, expected);
    }

    #[test]
    fn several_things_of_one_look_come_together_and_the_older_servers_pools_are_watched() {
        let file = |available| FilePool { available: Some(available), ..FilePool::default() };
        let old = Snapshot { plant: file(0), health: file(2), pools: Vec::new() };
        let (_, alerts) = Announced::default().after(Ok(&old), &low());
        let expected = [Alert::Dry { pool: "plantid".to_owned() }, Alert::Low { pool: "healthid".to_owned(), keys: 2 }];
        assert_eq!(alerts, expected);
        let unknown = Snapshot { plant: FilePool::default(), health: file(9), pools: Vec::new() };
        assert_eq!(Announced::default().after(Ok(&unknown), &low()).1, []);
    }

    #[test]
    fn what_was_announced_survives_a_restart_and_what_was_not_is_said_later() {
        let dry = look(vec![pool("a", 0), pool("b", 2)]);
        let (announced, alerts) = Announced::default().after(Ok(&dry), &low());
        assert_eq!(alerts.len(), 2);
        let text = serde_json::to_string(&announced).unwrap();
        let restarted: Announced = serde_json::from_str(&text).unwrap();
        assert_eq!(restarted, announced);
        assert_eq!(restarted.after(Ok(&dry), &low()).1, []);
        // Where they could not be sent, the old state is kept and they come again.
        assert_eq!(Announced::default().after(Ok(&dry), &low()).1, alerts);
    }

    #[test]
    fn no_more_pools_are_remembered_than_there_may_be() {
        let many = look((0..2 * REMEMBERED).map(|number| pool(&format!("p{number}"), 9)).collect());
        let (announced, _) = Announced::default().after(Ok(&many), &low());
        let (announced, _) = announced.after(Ok(&look(vec![pool("a", 9)])), &low());
        assert_eq!(announced.pools.len(), 1);
    }
}
