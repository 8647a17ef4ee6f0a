//! The store seen from outside: counts and open leases as they are written, past keylend's own code.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use keylend::domain::Policy;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::within;
use crate::place::Place;

/// How often a monitor looks, where a look does not take longer.
const EVERY: Duration = Duration::from_millis(2);

/// What is written about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    pub counted: u64,
    pub open: u64,
}

/// A connection of its own to the keys of one pool.
pub enum Raw {
    File(Mutex<rusqlite::Connection>, String),
    Collection(mongodb::Collection<Document>),
}

impl Raw {
    pub async fn open(place: &Place, pool: &Policy) -> Self {
        match place {
            Place::Folder(folder) => {
                let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
                let file = rusqlite::Connection::open_with_flags(folder.path().join("keylend.db"), flags).unwrap();
                Self::File(Mutex::new(file), pool.collection.clone())
            }
            Place::Database(database) => {
                let client = mongodb::Client::with_uri_str(&database.uri).await.unwrap();
                Self::Collection(client.database(&database.name).collection(&pool.collection))
            }
        }
    }

    /// Every key with its uses; those of one key are of one moment.
    pub async fn uses(&self) -> BTreeMap<String, Uses> {
        match self {
            Self::File(file, table) => {
                let file = file.lock().unwrap();
                let mut all = file
                    .prepare_cached(&format!(
                        "SELECT id, usage_count, (SELECT count(*) FROM leases WHERE key = k.id) FROM \"{table}\" AS k"
                    ))
                    .unwrap();
                let rows = all.query_map([], |row| Ok((row.get(0)?, Uses { counted: row.get(1)?, open: row.get(2)? })));
                rows.unwrap().collect::<Result<_, _>>().unwrap()
            }
            Self::Collection(keys) => {
                let found = keys.find(doc! {}).projection(doc! {"usage_count": 1, "leases": 1}).await.unwrap();
                let found: Vec<Document> = found.try_collect().await.unwrap();
                found.iter().map(|key| (key.get_object_id("_id").unwrap().to_hex(), uses(key))).collect()
            }
        }
    }
}

fn uses(key: &Document) -> Uses {
    let counted = match key.get("usage_count") {
        Some(Bson::Int32(count)) => u64::try_from(*count).unwrap(),
        Some(Bson::Int64(count)) => u64::try_from(*count).unwrap(),
        other => panic!("usage_count is {other:?}"),
    };
    Uses { counted, open: key.get_array("leases").map_or(0, Vec::len) as u64 }
}

/// Looks at the store again and again, and remembers every key that had more uses than it gives.
pub struct Monitor {
    stop: watch::Sender<bool>,
    looking: JoinHandle<Seen>,
}

/// What a monitor saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub samples: u64,
    /// Samples in which at least one lease was open.
    pub busy: u64,
    pub too_much: Vec<(String, Uses)>,
}

impl Monitor {
    pub async fn start(place: &Place, pool: &Policy) -> Self {
        let raw = Raw::open(place, pool).await;
        let most = u64::from(pool.uses_per_key);
        let (stop, stopped) = watch::channel(false);
        let looking = tokio::spawn(async move {
            let mut seen = Seen::default();
            let mut due = tokio::time::interval(EVERY);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                due.tick().await;
                let last = *stopped.borrow();
                let uses = raw.uses().await;
                seen.samples += 1;
                seen.busy += u64::from(uses.values().any(|uses| uses.open > 0));
                seen.too_much.extend(uses.into_iter().filter(|(_, uses)| uses.counted + uses.open > most));
                if last {
                    return seen;
                }
            }
        });
        Self { stop, looking }
    }

    /// Ends it after a last look. Asserts that no key ever had more uses than it gives.
    pub async fn saw_no_key_overused(self) -> Seen {
        self.stop.send_replace(true);
        let seen = within("the monitor", self.looking).await.unwrap();
        assert!(seen.samples > 0);
        assert_eq!(seen.too_much, [], "of {} samples", seen.samples);
        seen
    }
}
