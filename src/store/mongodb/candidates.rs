//! Candidates: the keys that go first, as they were a moment ago. A step proposes one of them, or many, and repeats the
//! whole rule in its own filter.
//!
//! For steps that hand out several keys many candidates are read at a time. What was read for one step serves the next
//! ones of a crowd, so the order of last use is kept to within [`WINDOW`] keys and [`AGE`]; and only for callers who come
//! while others are served, for a lone one is never served from here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Bson, Document, bson, doc};
use futures_util::TryStreamExt;
use rand::seq::SliceRandom;

use super::{MongoStore, error, expression, filter};
use crate::domain::{Picks, Policy};
use crate::store::StoreError;
use crate::store::planted::{self, Bug};

/// How many are read at once for a crowd, at most.
pub(super) const WINDOW: usize = 512;

/// How long they are good for.
pub(super) const AGE: Duration = Duration::from_millis(100);

/// Where other instances take from the same head of the order, each takes at random from the whole window for so
/// long: else all of them would ask for the same keys, and one would get them.
const CONTESTED: Duration = Duration::from_secs(1);

/// Up to so many uses per key, the keys of each count are read for themselves.
const COUNTS_APART: u32 = 16;

/// A key that was usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: ObjectId,
    /// It was handed out so recently that others go first.
    pub(super) hot: bool,
}

/// The candidates of each pool, by its collection and the uses that a key gives. None of them was hot.
#[derive(Default)]
pub(super) struct Candidates(Mutex<HashMap<(String, u32), Window>>);

struct Window {
    ids: VecDeque<ObjectId>,
    read_at: Instant,
    contested_at: Option<Instant>,
    /// How many of what was read last were wanted so far.
    served: usize,
    /// What was read last ended among hot ones: there is no use in reading many.
    is_short: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { ids: VecDeque::new(), read_at: Instant::now(), contested_at: None, served: WINDOW, is_short: false }
    }
}

impl Window {
    /// How many to read, for so many that are wanted. What is read and not wanted before its age costs all the same: it
    /// is twice of what the last ones served, and all where they did not last.
    fn limit(&self, wanted: usize) -> usize {
        let likely = match self.read_at.elapsed() < AGE || self.is_contested() {
            true => WINDOW,
            false => 2 * self.served,
        };
        if self.is_short { 2 * wanted } else { likely.max(2 * wanted) }.min(WINDOW)
    }

    fn is_contested(&self) -> bool {
        self.contested_at.is_some_and(|at| at.elapsed() < CONTESTED)
    }
}

impl Candidates {
    fn change<T>(&self, pool: &Policy, uses_per_key: u32, change: impl FnOnce(&mut Window) -> T) -> T {
        // Nothing can be half-changed by a panic: ids are whole whatever happens.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry((pool.collection.clone(), uses_per_key)).or_default())
    }

    /// So many that were read a moment ago; None where there are not as many.
    fn left(&self, pool: &Policy, uses_per_key: u32, wanted: usize) -> Option<Vec<Candidate>> {
        self.change(pool, uses_per_key, |window| {
            let is_young = window.read_at.elapsed() < AGE || planted::has(Bug::OldCandidates);
            let is_enough = is_young && window.ids.len() >= wanted;
            is_enough.then(|| {
                window.served += wanted;
                window.ids.drain(..wanted).map(|id| Candidate { id, hot: false }).collect()
            })
        })
    }

    /// Tells that another instance took some that were tried here.
    pub(super) fn contested(&self, pool: &Policy, uses_per_key: u32) {
        self.change(pool, uses_per_key, |window| window.contested_at = Some(Instant::now()));
    }

    /// How many to read, for so many that are wanted.
    fn limit(&self, pool: &Policy, uses_per_key: u32, wanted: usize) -> usize {
        self.change(pool, uses_per_key, |window| window.limit(wanted))
    }

    /// What was read is not so any more.
    pub(super) fn forget(&self, pool: &Policy, uses_per_key: u32) {
        self.change(pool, uses_per_key, |window| window.ids.clear());
    }

    /// Keeps those of what was read just now that are not wanted yet, and answers the others: the hot ones after all
    /// that are not.
    fn keep(&self, pool: &Policy, uses_per_key: u32, read: Vec<Candidate>, wanted: usize) -> Vec<Candidate> {
        let (mut hot, mut cool): (Vec<_>, Vec<_>) = read.into_iter().partition(|candidate| candidate.hot);
        self.change(pool, uses_per_key, |window| {
            if window.is_contested() {
                hot.shuffle(&mut rand::rng());
                cool.shuffle(&mut rand::rng());
            }
            let rest = cool.split_off(wanted.min(cool.len()));
            window.ids = rest.into_iter().map(|candidate| candidate.id).collect();
            window.read_at = Instant::now();
            window.served = wanted;
            window.is_short = !hot.is_empty();
        });
        hot.truncate(wanted - cool.len());
        cool.append(&mut hot);
        cool
    }
}

impl MongoStore {
    /// So many candidates, or as many as there are: for a step of a crowd, which goes on with what an earlier one has
    /// left.
    pub(super) async fn candidates(
        &self,
        pool: &Policy,
        uses_per_key: u32,
        wanted: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        if let Some(left) = self.candidates.left(pool, uses_per_key, wanted) {
            return Ok(left);
        }
        let limit = self.candidates.limit(pool, uses_per_key, wanted);
        let read = self.first(pool, uses_per_key, &doc! {}, wanted, limit).await?;
        Ok(self.candidates.keep(pool, uses_per_key, read, wanted))
    }

    /// Reads the usable keys that go first, in their order: `wanted` at least, where there are as many, and `limit` at
    /// most. `besides`: what they must match as well.
    pub(super) async fn first(
        &self,
        pool: &Policy,
        uses_per_key: u32,
        besides: &Document,
        wanted: usize,
        limit: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        // Of the first ones hardly any is not usable, and to judge a key costs the server ten times as much as to sort it.
        let first = self.read(pool, uses_per_key, besides, limit, Judged::OfTheFirst).await?;
        if first.len() >= wanted {
            return Ok(first);
        }
        self.read(pool, uses_per_key, besides, limit, Judged::All).await
    }

    async fn read(
        &self,
        pool: &Policy,
        uses_per_key: u32,
        besides: &Document,
        limit: usize,
        judged: Judged,
    ) -> Result<Vec<Candidate>, StoreError> {
        let mut usable = filter::usable(&self.openable(), uses_per_key, false);
        let rule = usable.remove("$expr").map(|rule| doc! {"$expr": rule}).unwrap_or_default();
        let judge = doc! {"$match": {"$and": [rule, besides.clone()]}};
        let order = doc! {"$sort": filter::order(pool.picks)};
        let limited = doc! {"$limit": limit as i64};
        let part = |counts: Bson| {
            let mut counted = usable.clone();
            counted.insert("usage_count", counts);
            let mut part = vec![doc! {"$match": counted}];
            part.extend((judged == Judged::All).then(|| judge.clone()));
            part.extend([order.clone(), limited.clone()]);
            part
        };
        let mut parts = counts(pool.picks, uses_per_key).into_iter().map(part);
        let Some(mut pipeline) = parts.next() else { return Ok(Vec::new()) };
        for part in parts {
            pipeline.push(doc! {"$unionWith": {"coll": &pool.collection, "pipeline": part}});
        }
        pipeline.extend([order.clone(), limited.clone()]);
        pipeline.extend((judged == Judged::OfTheFirst).then(|| judge.clone()));
        pipeline.push(doc! {"$project": {"hot": expression::is_hot()}});
        let keys = self.keys(pool);
        let found = keys.aggregate(pipeline).batch_size(limit as u32).max_time(self.time_limit);
        let found = found.await.map_err(error::of_read)?;
        let found: Vec<Document> = found.with_type().try_collect().await.map_err(error::of_read)?;
        let candidate = |found: Document| {
            Some(Candidate { id: found.get_object_id("_id").ok()?, hot: found.get_bool("hot").ok()? })
        };
        Ok(found.into_iter().filter_map(candidate).collect())
    }
}

/// Which keys are judged by the whole rule.
#[derive(Clone, Copy, PartialEq)]
enum Judged {
    /// The first ones of those that are active and not counted out, so that fewer may be found than there are.
    OfTheFirst,
    All,
}

/// The counts of usable keys in parts, each of which the index gives in the pool's order: what is equal in all before
/// that. A server that does not merge ranges in order, as MongoDB does, would read and sort all usable keys else.
fn counts(picks: Picks, uses_per_key: u32) -> Vec<Bson> {
    match (picks, uses_per_key) {
        (_, 0) => Vec::new(),
        (_, 1) => vec![bson!(0)],
        (Picks::LeastRecentlyUsed, 2..=COUNTS_APART) => (0..i64::from(uses_per_key)).map(Bson::Int64).collect(),
        // Key after key: hardly one is between its first use and its last.
        (Picks::InOrder, _) => vec![bson!(0), bson!({"$gte": 1_i64, "$lt": i64::from(uses_per_key)})],
        (Picks::LeastRecentlyUsed, _) => vec![filter::counts(0, uses_per_key)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_below_the_limit_is_in_one_part() {
        let lru = |uses_per_key| counts(Picks::LeastRecentlyUsed, uses_per_key);
        assert_eq!(lru(0), []);
        assert_eq!(lru(1), [bson!(0)]);
        assert_eq!(lru(3), [bson!(0i64), bson!(1i64), bson!(2i64)]);
        assert_eq!(lru(17), [filter::counts(0, 17)]);
        assert_eq!(counts(Picks::InOrder, 100), [bson!(0), bson!({"$gte": 1i64, "$lt": 100i64})]);
    }

    #[test]
    fn hot_ones_come_last_and_are_not_kept() {
        let policy = Policy::new("some".parse().expect("a name"), Picks::LeastRecentlyUsed, 4);
        let candidates = Candidates::default();
        let read: Vec<_> = (0..6).map(|n| Candidate { id: ObjectId::new(), hot: n >= 4 }).collect();
        assert_eq!(candidates.keep(&policy, 4, read.clone(), 5), read[..5]);
        assert_eq!(candidates.left(&policy, 4, 1), None);
        assert_eq!(candidates.keep(&policy, 4, read.clone(), 2), read[..2]);
        assert_eq!(candidates.left(&policy, 4, 3), None);
        assert_eq!(candidates.left(&policy, 4, 2), Some(read[2..4].to_vec()));
    }

    fn age(candidates: &Candidates, policy: &Policy) {
        let then = Instant::now().checked_sub(AGE).expect("the clock runs for longer than that");
        candidates.change(policy, 4, |window| window.read_at = then);
    }

    #[test]
    fn what_was_read_is_good_for_its_age_only() {
        let policy = Policy::new("some".parse().expect("a name"), Picks::LeastRecentlyUsed, 4);
        let candidates = Candidates::default();
        let read: Vec<_> = (0..4).map(|_| Candidate { id: ObjectId::new(), hot: false }).collect();
        candidates.keep(&policy, 4, read.clone(), 0);
        assert_eq!(candidates.left(&policy, 4, 2), Some(read[..2].to_vec()));
        age(&candidates, &policy);
        assert_eq!(candidates.left(&policy, 4, 2), None);
    }

    #[test]
    fn as_many_are_read_as_were_wanted_of_the_last_ones() {
        let policy = Policy::new("some".parse().expect("a name"), Picks::LeastRecentlyUsed, 4);
        let candidates = Candidates::default();
        let read: Vec<_> = (0..WINDOW).map(|_| Candidate { id: ObjectId::new(), hot: false }).collect();
        assert_eq!(candidates.limit(&policy, 4, 3), WINDOW);
        candidates.keep(&policy, 4, read.clone(), 3);
        assert!(candidates.left(&policy, 4, 7).is_some());
        age(&candidates, &policy);
        assert_eq!(candidates.limit(&policy, 4, 3), 20);
        assert_eq!(candidates.limit(&policy, 4, 64), 128);
        // They did not last.
        candidates.keep(&policy, 4, read[..20].to_vec(), 3);
        assert_eq!(candidates.left(&policy, 4, 18), None);
        assert_eq!(candidates.limit(&policy, 4, 18), WINDOW);
        // Others take from them.
        age(&candidates, &policy);
        candidates.contested(&policy, 4);
        assert_eq!(candidates.limit(&policy, 4, 3), WINDOW);
    }
}
