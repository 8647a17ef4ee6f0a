//! Candidates: the ids of keys that were usable a moment ago, read many at a time, for steps that hand out several.
//!
//! A candidate is a proposal: the step that takes it repeats the whole rule in its own filter. What was read for one
//! step serves the next ones of a crowd, so the order of last use is kept to within [`WINDOW`] keys and [`AGE`]; and
//! only for callers who come while others are served, for a lone one is never served from here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Bson, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use rand::seq::SliceRandom;

use super::{MongoStore, document, error, filter};
use crate::domain::Policy;
use crate::store::StoreError;

/// How many are read at once.
pub(super) const WINDOW: usize = 512;

/// How long they are good for.
pub(super) const AGE: Duration = Duration::from_millis(100);

/// Where other instances take from the same head of the order, each takes at random from the whole window for so
/// long: else all of them would ask for the same keys, and one would get them.
const CONTESTED: Duration = Duration::from_secs(1);

/// The candidates of each pool, by its collection and the uses that a key gives.
#[derive(Default)]
pub(super) struct Candidates(Mutex<HashMap<(String, u32), Window>>);

struct Window {
    ids: VecDeque<ObjectId>,
    read_at: Instant,
    contested_at: Option<Instant>,
}

impl Window {
    fn is_contested(&self) -> bool {
        self.contested_at.is_some_and(|at| at.elapsed() < CONTESTED)
    }
}

impl Candidates {
    fn change<T>(&self, pool: &Policy, uses_per_key: u32, change: impl FnOnce(&mut Window) -> T) -> T {
        // Nothing can be half-changed by a panic: ids are whole whatever happens.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = all.entry((pool.collection.clone(), uses_per_key));
        let empty = || Window { ids: VecDeque::new(), read_at: Instant::now(), contested_at: None };
        change(window.or_insert_with(empty))
    }

    /// Up to so many that were read a moment ago.
    pub(super) fn left(&self, pool: &Policy, uses_per_key: u32, wanted: usize) -> Vec<ObjectId> {
        self.change(pool, uses_per_key, |window| {
            if window.read_at.elapsed() >= AGE {
                window.ids.clear();
            }
            let count = wanted.min(window.ids.len());
            window.ids.drain(..count).collect()
        })
    }

    /// Tells that another instance took some that were tried here.
    pub(super) fn contested(&self, pool: &Policy, uses_per_key: u32) {
        self.change(pool, uses_per_key, |window| window.contested_at = Some(Instant::now()));
    }

    /// Keeps what was read just now, and answers the first of them.
    fn keep(&self, pool: &Policy, uses_per_key: u32, mut ids: Vec<ObjectId>, wanted: usize) -> Vec<ObjectId> {
        self.change(pool, uses_per_key, |window| {
            if window.is_contested() {
                ids.shuffle(&mut rand::rng());
            }
            let rest = ids.split_off(wanted.min(ids.len()));
            window.ids = rest.into();
            window.read_at = Instant::now();
        });
        ids
    }
}

impl MongoStore {
    /// Reads candidates anew, and answers up to so many. `cool`: without those that were handed out just now.
    pub(super) async fn read_candidates(
        &self,
        pool: &Policy,
        uses_per_key: u32,
        cool: bool,
        wanted: usize,
    ) -> Result<Vec<ObjectId>, StoreError> {
        let found = self
            .keys(pool)
            .find(filter::usable(uses_per_key, cool))
            .sort(filter::order(pool.picks))
            .projection(doc! {"_id": 1})
            .limit(WINDOW as i64)
            .batch_size(WINDOW as u32)
            .max_time(self.time_limit)
            .await
            .map_err(error::of_read)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(error::of_read)?;
        let ids = found.into_iter().filter_map(|found| match document::lossy(found).ok()?.get("_id") {
            Some(Bson::ObjectId(id)) => Some(*id),
            _ => None,
        });
        let ids: Vec<ObjectId> = ids.collect();
        // What is not cool is soon taken by whoever waits for it: it is read each time.
        if !cool {
            return Ok(ids.into_iter().take(wanted).collect());
        }
        Ok(self.candidates.keep(pool, uses_per_key, ids, wanted))
    }
}
