//! The keys that a run begins with.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use bson::{DateTime, Document, doc};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;
use rusqlite::Connection;

use crate::failure::Failure;
use crate::place::{Base, PLANTID, Place, STABILITY};
use crate::server;

/// How many documents are sent at once.
const BATCH: u32 = 10_000;

/// Brings any instant of a benchmark before [`long_ago`].
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seed {
    pub(crate) pool: Pool,
    /// Never counted yet, each last used at an instant of its own long ago.
    pub(crate) usable: u32,
    /// At their limit.
    pub(crate) spent: u32,
    pub(crate) uses_per_key: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pool {
    /// Least recently used first.
    Stability,
    /// Key after key.
    Plantid,
}

impl Pool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stability => "stability",
            Self::Plantid => "plantid",
        }
    }

    pub(crate) fn collection(self) -> &'static str {
        match self {
            Self::Stability => STABILITY,
            Self::Plantid => PLANTID,
        }
    }
}

/// The instants at which the keys were last used, before any benchmark: what was handed out since is later than this.
pub(crate) fn long_ago() -> DateTime {
    DateTime::from_millis(1_700_000_000_000)
}

impl Seed {
    pub(crate) fn usable(usable: u32) -> Self {
        Self { pool: Pool::Stability, usable, spent: 0, uses_per_key: 4 }
    }

    /// The policy, as the settings of keylend have it.
    pub(crate) fn toml(self) -> String {
        // None lapses during a run, however many of them there are: each that was told is there to be checked.
        format!("[pools.{}]\nuses_per_key = {}\nlease_ttl_seconds = 3600\n", self.pool.name(), self.uses_per_key)
    }

    pub(crate) fn total(self) -> u32 {
        self.usable + self.spent
    }

    fn count(self, key: u32) -> u32 {
        if key < self.spent { self.uses_per_key } else { 0 }
    }

    fn secret(key: u32) -> String {
        format!("sk-bench-{key:012}")
    }

    fn last_used(self, key: u32) -> DateTime {
        DateTime::from_millis(long_ago().timestamp_millis() - i64::from(self.total() - key) * 10)
    }

    /// The keys as an export has them.
    pub(crate) fn write_lines(self, path: &Path) -> Result<(), Failure> {
        let mut file = BufWriter::new(File::create(path)?);
        for key in 0..self.total() {
            let last_used =
                self.last_used(key).try_to_rfc3339_string().map_err(|error| Failure::Bench(error.to_string()))?;
            writeln!(
                file,
                r#"{{"pool":"{}","api_key":"{}","usage_count":{},"last_used":"{last_used}","is_active":true}}"#,
                self.pool.name(),
                Self::secret(key),
                self.count(key),
            )?;
        }
        file.flush()?;
        Ok(())
    }

    /// The keys as documents, with the indexes that somebody makes in an afternoon.
    pub(crate) async fn insert(self, base: &Base) -> Result<(), Failure> {
        let keys = base.keys(self.pool.collection());
        let place = match self.pool {
            Pool::Stability => "last_used",
            Pool::Plantid => "order",
        };
        let unique = IndexOptions::builder().unique(true).build();
        keys.create_index(IndexModel::builder().keys(doc! {"is_active": 1, "usage_count": 1, place: 1}).build())
            .await?;
        keys.create_index(IndexModel::builder().keys(doc! {"api_key": 1}).options(unique).build()).await?;
        for from in (0..self.total()).step_by(BATCH as usize) {
            let batch = (from..self.total().min(from + BATCH)).map(|key| self.document(key));
            keys.insert_many(batch).ordered(false).await?;
        }
        server::analyse(base).await
    }

    fn document(self, key: u32) -> Document {
        doc! {
            "api_key": Self::secret(key),
            "usage_count": self.count(key),
            "last_used": self.last_used(key),
            "is_active": true,
            "order": i64::from(key) + 1,
        }
    }
}

/// Takes back what a run did to the keys, in the order in which it used them: for places that take long to make.
pub(crate) async fn restore(place: &Place, seed: Seed) -> Result<(), Failure> {
    match &place.database {
        Some(base) => {
            let since = doc! {"last_used": {"$gte": long_ago()}};
            let before = doc! {"$subtract": ["$last_used", TEN_YEARS.as_millis() as i64]};
            let update =
                vec![doc! {"$set": {"usage_count": 0, "last_used": before}}, doc! {"$unset": ["leases", "mark"]}];
            base.keys(seed.pool.collection()).update_many(since, update).await?;
            server::analyse(base).await
        }
        None => {
            let file = Connection::open(place.file())?;
            let (table, since, ten_years) =
                (seed.pool.collection(), long_ago().timestamp_millis(), TEN_YEARS.as_millis());
            file.execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 UPDATE {table} SET usage_count = 0, last_used = last_used - {ten_years} WHERE last_used >= {since};
                 DELETE FROM leases;
                 COMMIT;
                 PRAGMA wal_checkpoint(TRUNCATE);"
            ))?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_was_used_long_ago_and_at_an_instant_of_its_own() {
        let seed = Seed { spent: 3, ..Seed::usable(7) };
        let mut instants: Vec<_> = (0..10).map(|key| seed.last_used(key)).collect();
        assert!(instants.iter().all(|instant| *instant < long_ago()));
        instants.dedup();
        assert_eq!(instants.len(), 10);
    }

    #[test]
    fn lines_and_documents_are_the_same_keys() {
        let seed = Seed { spent: 1, ..Seed::usable(1) };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.ndjson");
        seed.write_lines(&path).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        for (key, line) in (0..).zip(&lines) {
            let document = seed.document(key);
            assert_eq!(line["api_key"], document.get_str("api_key").unwrap());
            assert_eq!(line["usage_count"], [4, 0][key as usize]);
            let last_used = document.get_datetime("last_used").unwrap().try_to_rfc3339_string().unwrap();
            assert_eq!(line["last_used"], last_used);
        }
    }
}
