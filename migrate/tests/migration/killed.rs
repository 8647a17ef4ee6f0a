//! Killed at any moment, undone and begun again, with three services that lend from the same collection and an older
//! program that counts beside them: not one count is lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::mongodb::{Collection, Database};
use bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use futures_util::TryStreamExt;
use keylend::domain::{KeyId, KeyRef, Outcome, Policy, Report};
use keylend::pool::{Ask, Pool, PoolError, Pools, sweep_until};
use keylend::store::StoreError;
use keylend_migrate::pages::PAGE;
use tokio::task::JoinSet;

use super::commands::on_mongodb;
use crate::database::{self, TIME_LIMIT};
use crate::support::{Migration, bytes, told};

on_mongodb! {
    not_one_count_is_lost,
}

/// How often the program is killed.
const KILLS: usize = 50;

/// Several pages of documents, so that a run can end between two of them.
const KEYS: usize = 2 * PAGE;

/// As many as a key can give: what is counted here never spends one.
const USES: u32 = 10_000;

/// How long the leases last; many of them lapse.
const TTL: Duration = Duration::from_secs(4);

/// The longest wait for what is bound to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest that it runs before it is killed, on a machine that has much else to do.
const LONGEST: Duration = Duration::from_millis(800);

/// The random numbers of a test, from a seed that is told.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % sides
    }
}

/// A kind of document, and from which counts it starts.
struct Kind {
    fields: Document,
    /// The count that it starts from; a second one where that depends on who comes first: an older program that counts
    /// on a document without a count begins at 0, and a run keeps what it finds.
    starts: &'static [u64],
    /// Whether the older program counts on it too.
    shared: bool,
}

fn kinds() -> Vec<Kind> {
    let date = DateTime::from_millis(1_717_236_000_000);
    let kind = |fields, starts, shared| Kind { fields, starts, shared };
    vec![
        kind(doc! {"credits_left": 24.3, "last_checked": date}, &[1], false),
        kind(doc! {"credits_left": 20, "last_used": date}, &[5, 0], true),
        kind(doc! {"owner": {"credits_left": 3}}, &[0], true),
        kind(doc! {"credits_left": 24.3, "usage_count": 0.7}, &[1], true),
        kind(doc! {"credits_left": 24.0, "usage_count": 3, "last_used": date}, &[3], true),
        kind(doc! {"credits_left": 20.0, "usage_count": 1}, &[1], true),
        kind(doc! {"credits_left": Bson::Decimal128("22.4".parse().unwrap()), "usage_count": Bson::Null}, &[3], false),
        kind(doc! {"usage_count": 2.0, "last_checked": date}, &[2], true),
        kind(doc! {"usage_count": 2_i64}, &[2], true),
        kind(doc! {"credits_left": 22_i64, "legacy": "theirs"}, &[3], false),
        kind(doc! {"credits_left": -3}, &[28], false),
        // These are invalid, and counted on all the same.
        kind(doc! {"credits_left": "20", "usage_count": 1}, &[1], true),
        kind(doc! {"credits_left": f64::NAN}, &[0], true),
    ]
}

/// What was counted on each key, as it was acknowledged.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<HashMap<ObjectId, u64>>>);

impl Counted {
    fn add(&self, id: ObjectId) {
        *self.0.lock().unwrap().entry(id).or_default() += 1;
    }

    fn of(&self, id: ObjectId) -> u64 {
        self.0.lock().unwrap().get(&id).copied().unwrap_or(0)
    }

    fn total(&self) -> u64 {
        self.0.lock().unwrap().values().sum()
    }
}

/// Who counts while the program is killed.
struct Others {
    stop: Arc<AtomicBool>,
    counting: JoinSet<()>,
    sweeping: JoinSet<()>,
    counted: Counted,
}

impl Others {
    async fn start(database: &Database, keys: Vec<(ObjectId, bool)>, dice: &mut Dice) -> Self {
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Counted::default());
        let (mut counting, mut sweeping) = (JoinSet::new(), JoinSet::new());
        let keys = Arc::new(keys);
        let mut dice = || Dice(dice.throw(u64::MAX));
        for _ in 0..3 {
            let [policy, ..] = Policy::built_in();
            let policy = Policy { uses_per_key: USES, ..policy };
            let pools = Pools::new(Arc::new(database::instance(database).await), [policy], TIME_LIMIT);
            pools.prepare().await.unwrap();
            let pool = pools.get("stability").unwrap().clone();
            sweeping.spawn(sweep_until(pools, std::future::pending()));
            counting.spawn(lend(pool.clone(), counted.clone(), Arc::clone(&stop), dice()));
            counting.spawn(increment(pool, Arc::clone(&keys), counted.clone(), Arc::clone(&stop), dice()));
        }
        let collection = database.collection("stability_api_keys");
        counting.spawn(count_as_python(collection, keys, counted.clone(), Arc::clone(&stop), dice()));
        Self { stop, counting, sweeping, counted }
    }

    /// Ends them, when all that was begun is acknowledged and every lease is settled.
    async fn end(mut self, keys: &Collection<Document>) -> Counted {
        self.stop.store(true, Ordering::Release);
        while let Some(ended) = self.counting.join_next().await {
            ended.unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        while keys.count_documents(doc! {"leases.0": {"$exists": true}}).await.unwrap() > 0 {
            assert!(Instant::now() < deadline, "leases are not settled");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.sweeping.abort_all();
        self.counted
    }
}

/// A service's callers: they lease, and report or forget.
async fn lend(pool: Pool, counted: Counted, stop: Arc<AtomicBool>, mut dice: Dice) {
    while !stop.load(Ordering::Acquire) {
        let lent = match pool.lease(Ask { ttl: Some(TTL), ..Ask::default() }).await {
            Ok(lent) => lent,
            // All of them are without a count for the moment.
            Err(PoolError::NoUsableKey { .. }) => continue,
            // It came late, and was given back.
            Err(PoolError::Store(StoreError::Away(_))) => continue,
            Err(error) => panic!("{}", error.chain()),
        };
        let (lease, id) = (lent.lease().clone(), ObjectId::from_bytes(lent.key().id.bytes()));
        lent.answered();
        let outcome = match dice.throw(4) {
            0 => None,
            1 => Some(Outcome::Unused),
            _ => Some(Outcome::Used),
        };
        // A lease that is not reported in time is a use.
        let Some(outcome) = outcome else {
            counted.add(id);
            continue;
        };
        match pool.report(&lease, Report::new(outcome, None).unwrap()).await {
            Ok(_) if outcome == Outcome::Unused => {}
            Ok(_) | Err(PoolError::LeaseGone) => counted.add(id),
            Err(error) => panic!("{}", error.chain()),
        }
    }
}

/// A service's callers of the older call.
async fn increment(
    pool: Pool,
    keys: Arc<Vec<(ObjectId, bool)>>,
    counted: Counted,
    stop: Arc<AtomicBool>,
    mut dice: Dice,
) {
    while !stop.load(Ordering::Acquire) {
        let (id, _) = keys[dice.throw(keys.len() as u64) as usize];
        pool.increment_usage(&KeyRef::Id(KeyId::from_bytes(id.bytes()))).await.unwrap();
        counted.add(id);
    }
}

/// The older program.
async fn count_as_python(
    collection: Collection<Document>,
    keys: Arc<Vec<(ObjectId, bool)>>,
    counted: Counted,
    stop: Arc<AtomicBool>,
    mut dice: Dice,
) {
    let keys: Vec<ObjectId> = keys.iter().filter(|(_, shared)| *shared).map(|(id, _)| *id).collect();
    while !stop.load(Ordering::Acquire) {
        let id = keys[dice.throw(keys.len() as u64) as usize];
        let count = doc! {"$inc": {"usage_count": 1}, "$set": {"last_used": DateTime::now()}};
        let done = collection.update_one(doc! {"_id": id}, count).await.unwrap();
        assert_eq!(done.modified_count, 1);
        counted.add(id);
    }
}

async fn not_one_count_is_lost(t: &Migration) {
    let seed = std::env::var("KEYLEND_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("KEYLEND_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    let started = Instant::now();
    let kinds = kinds();
    let document = |n: usize| {
        let mut document = doc! {"_id": ObjectId::new(), "api_key": format!("sk-{n}"), "is_active": true};
        document.extend(kinds[n % kinds.len()].fields.clone());
        document
    };
    let before: Vec<Document> = (0..KEYS).map(document).collect();
    t.keys.insert_many(&before).await.unwrap();
    let ids = before.iter().enumerate();
    let ids = ids.map(|(n, key)| (key.get_object_id("_id").unwrap(), kinds[n % kinds.len()].shared)).collect();
    let database = t.keys.client().database(&t.keys.namespace().db);
    let others = Others::start(&database, ids, &mut dice).await;

    let (mut killed, mut in_the_middle) = (0, 0);
    let whole = Instant::now();
    assert_eq!(t.output(&[]).status.code(), Some(1));
    let longest = whole.elapsed().min(LONGEST);
    for _ in 0..KILLS {
        let what = [&["--undo", "--yes"][..], &[]][dice.throw(2) as usize];
        let mut run = t.start(what);
        tokio::time::sleep(longest.mul_f64(dice.throw(1000) as f64 / 1000.0)).await;
        killed += usize::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
        let migrated = t.keys.count_documents(doc! {"legacy.base": {"$exists": true}}).await.unwrap();
        let all = KEYS - KEYS / kinds.len() * 3;
        in_the_middle += usize::from(migrated > 0 && (migrated as usize) < all - kinds.len());
    }
    // Others count on while the last run ends it.
    assert_eq!(t.output(&[]).status.code(), Some(1));
    let counted = others.end(&t.keys).await;
    println!(
        "{killed} of {KILLS} killed, {in_the_middle} times in the middle; {} counts in {:.0} s",
        counted.total(),
        started.elapsed().as_secs_f64()
    );
    assert!(killed > KILLS / 3 && in_the_middle > 0, "it was hardly ever killed");
    let summary = t.json(1, &["--list", "0"]);
    let invalid = before.iter().filter(|key| is_invalid(key)).count();
    assert_eq!((&summary["left"], &summary["invalid"]), (&0.into(), &invalid.into()));
    every_count_is_there(t, &before, &kinds, &counted).await;
    let verified = t.json(1, &["--verify"]);
    let numbers = ["not_migrated", "wrong", "lowered"].map(|number| verified[number].as_u64().unwrap());
    assert_eq!(numbers, [0, 0, 0], "{verified}");

    let undone = t.output(&["--undo", "--yes"]);
    assert_eq!(undone.status.code(), Some(0), "{}", told(&undone));
    the_documents_are_as_they_were(t, &before).await;
    t.json(1, &["--list", "0"]);
    every_count_is_there(t, &before, &kinds, &counted).await;
}

fn is_invalid(document: &Document) -> bool {
    match document.get("credits_left") {
        Some(Bson::String(_)) => true,
        Some(Bson::Double(credits)) => credits.is_nan(),
        _ => false,
    }
}

async fn stored(t: &Migration) -> HashMap<ObjectId, Document> {
    let all: Vec<Document> = t.keys.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    all.into_iter().map(|document| (document.get_object_id("_id").unwrap(), document)).collect()
}

async fn every_count_is_there(t: &Migration, before: &[Document], kinds: &[Kind], counted: &Counted) {
    let stored = stored(t).await;
    let mut wrong = Vec::new();
    for (n, key) in before.iter().enumerate() {
        let id = key.get_object_id("_id").unwrap();
        let (starts, made) = (kinds[n % kinds.len()].starts, counted.of(id));
        let count = match stored[&id].get("usage_count") {
            Some(Bson::Int32(count)) => Some(f64::from(*count)),
            Some(Bson::Int64(count)) => Some(*count as f64),
            Some(Bson::Double(count)) => Some(*count),
            // Nothing could be migrated there, and nobody has counted.
            None if is_invalid(key) => Some(0.0),
            _ => None,
        };
        if !starts.iter().any(|start| count == Some((start + made) as f64)) {
            wrong.push(format!("{made} counted from {starts:?}: {}", stored[&id]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}, the first: {:#?}", wrong.len(), before.len(), &wrong[..wrong.len().min(5)]);
}

/// But for what was counted, and the leases that were open in between.
async fn the_documents_are_as_they_were(t: &Migration, before: &[Document]) {
    let stored = stored(t).await;
    for key in before {
        let found = &stored[&key.get_object_id("_id").unwrap()];
        let counted = ["usage_count", "last_used", "legacy", "leases"];
        let fields = key.keys().chain(found.keys()).filter(|field| !counted.contains(&field.as_str()));
        for field in fields {
            let same = key.get(field).map(bytes) == found.get(field).map(bytes);
            assert!(same, "{field} of {found} was {:?}", key.get(field));
        }
        // Somebody else's is where it was, or waits beside what was counted.
        if let Some(theirs) = key.get("legacy") {
            let legacy = found.get("legacy").unwrap();
            let waits = legacy.as_document().and_then(|legacy| legacy.get("legacy"));
            assert!(legacy == theirs || waits == Some(theirs), "{found}");
        }
    }
}
