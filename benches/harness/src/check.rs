//! The check after each run: what the callers were told, and what the store holds. A benchmark of wrong answers is worth
//! nothing.

use std::collections::{HashMap, HashSet};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use rusqlite::{Connection, OpenFlags};

use crate::failure::Failure;
use crate::load::{Told, Work, field};
use crate::place::{Base, Place};
use crate::seed::{Pool, Seed, long_ago};

/// A key that was handed out, as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    id: String,
    secret: String,
    usage_count: u64,
    /// The entries of its open leases.
    open: Vec<String>,
}

/// What was asked of a place since it was made, or restored.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) work: Work,
    pub(crate) told: Told,
    /// Units that were not done: each may have been half done.
    pub(crate) failed: u64,
    /// Whether the leases are documents, as keylend has them, or only counted, as the baselines do.
    pub(crate) leases_are_kept: bool,
}

/// Compares them.
pub(crate) async fn check(place: &Place, seed: Seed, asked: &Asked) -> Result<(), Failure> {
    let held = match &place.database {
        Some(base) => held_on_mongodb(base, seed).await?,
        None => held_in_file(place, seed)?,
    };
    judge(seed, asked, &held).map_err(Failure::Wrong)
}

async fn held_on_mongodb(base: &Base, seed: Seed) -> Result<Vec<Held>, Failure> {
    let since = doc! {"last_used": {"$gte": long_ago()}};
    let keys = base.keys(seed.pool.collection());
    let found = keys.find(since).projection(doc! {"api_key": 1, "usage_count": 1, "leases.id": 1}).await?;
    let documents: Vec<Document> = found.try_collect().await?;
    Ok(documents.iter().map(held).collect())
}

fn held(document: &Document) -> Held {
    let entry = |lease: &Bson| lease.as_document().and_then(|lease| Some(lease.get_str("id").ok()?.to_owned()));
    let leases = document.get_array("leases").map(|leases| leases.iter().filter_map(entry).collect());
    let usage_count = match document.get("usage_count") {
        Some(Bson::Int32(count)) => u64::try_from(*count),
        Some(Bson::Int64(count)) => u64::try_from(*count),
        // Nothing of a benchmark writes it so: above any limit, so that the run fails.
        _ => Ok(u64::MAX / 2),
    };
    Held {
        id: document.get_object_id("_id").map(|id| id.to_hex()).unwrap_or_default(),
        secret: document.get_str("api_key").unwrap_or_default().to_owned(),
        usage_count: usage_count.unwrap_or(u64::MAX / 2),
        open: leases.unwrap_or_default(),
    }
}

fn held_in_file(place: &Place, seed: Seed) -> Result<Vec<Held>, Failure> {
    let file = Connection::open_with_flags(place.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let table = seed.pool.collection();
    // The plus keeps it from going through all leases of the pool for each key.
    let mut keys = file.prepare(&format!(
        "SELECT k.id, k.api_key, k.usage_count, group_concat(l.entry)
         FROM {table} AS k LEFT JOIN leases AS l ON l.key = k.id AND +l.collection = '{table}'
         WHERE k.last_used >= ?1 GROUP BY k.id"
    ))?;
    let held = keys.query_map([long_ago().timestamp_millis()], |row| {
        let open: Option<String> = row.get(3)?;
        Ok(Held {
            id: row.get(0)?,
            secret: row.get(1)?,
            usage_count: row.get(2)?,
            open: open.map(|open| open.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        })
    })?;
    Ok(held.collect::<Result<_, _>>()?)
}

/// The rules, without a store; the text says which one is broken.
fn judge(seed: Seed, asked: &Asked, held: &[Held]) -> Result<(), String> {
    let limit = u64::from(seed.uses_per_key);
    // find_usable_key reserves nothing: callers that found the same key may count it over its limit.
    let is_exact = asked.work != Work::FindAndCount;
    let over = held.iter().filter(|key| is_exact && key.usage_count + key.open.len() as u64 > limit).count();
    if over > 0 {
        return Err(format!("{over} keys are over their limit of {limit}"));
    }
    let told = asked.told.len();
    let counted: u64 = held.iter().map(|key| key.usage_count).sum();
    let open: u64 = held.iter().map(|key| key.open.len() as u64).sum();
    let sum = |what: &str, stored: u64, acknowledged: u64| {
        // What was asked for and not answered may have happened, or not.
        let possible = acknowledged..=acknowledged + asked.failed;
        if possible.contains(&stored) { Ok(()) } else { Err(format!("{what}: {stored} stored, {possible:?} told")) }
    };
    let by_id: HashMap<&str, &Held> = held.iter().map(|key| (key.id.as_str(), key)).collect();
    match asked.work {
        Work::Lease | Work::LeaseAndReport => {
            sum("counts and open leases", counted + open, told)?;
            if asked.work == Work::LeaseAndReport {
                sum("counts", counted, asked.told.counted)?;
            }
            let mut leases = HashSet::new();
            let mut settled = 0;
            for answer in asked.told.iter() {
                let lease = text(answer, "lease_id")?;
                if !leases.insert(lease) {
                    return Err("the same lease was told twice".to_owned());
                }
                let key = same_key(&by_id, answer)?;
                let entry = lease.rsplit('.').next().unwrap_or_default();
                settled += u64::from(!key.open.iter().any(|open| open == entry));
            }
            let settled_by = if asked.work == Work::Lease { 0 } else { asked.told.counted };
            if asked.leases_are_kept {
                sum("leases that are not open", settled, settled_by)?
            }
        }
        Work::Find | Work::FindAndCount => {
            let mut found = HashSet::new();
            for answer in asked.told.iter() {
                found.insert(same_key(&by_id, answer)?.id.as_str());
            }
            sum("keys that were stamped", held.len() as u64, found.len() as u64)?;
            sum("counts", counted, asked.told.counted)?;
        }
        Work::Take => {
            let mut taken: HashMap<&str, u64> = HashMap::new();
            for answer in asked.told.iter() {
                *taken.entry(text(answer, "Key")?).or_default() += 1;
            }
            sum("takes", counted, told)?;
            let more = |key: &&Held| taken.get(key.secret.as_str()).is_some_and(|taken| *taken > key.usage_count);
            let known: u64 = held.iter().filter_map(|key| taken.get(key.secret.as_str())).sum();
            if known != told || held.iter().any(|key| more(&key)) {
                return Err("a key was told more often than it counts".to_owned());
            }
        }
        Work::Live | Work::Stats => {}
    }
    debug_assert!(seed.pool == Pool::Plantid || asked.work != Work::Take);
    Ok(())
}

fn text<'a>(answer: &'a [u8], name: &str) -> Result<&'a str, String> {
    field(answer, name).ok_or_else(|| format!("an answer has no {name}"))
}

/// The key that an answer names, if its secret is that key's.
fn same_key<'a>(by_id: &HashMap<&str, &'a Held>, answer: &[u8]) -> Result<&'a Held, String> {
    let key = by_id.get(text(answer, "id")?).ok_or("an answer names a key that was not stamped")?;
    if key.secret == text(answer, "api_key")? { Ok(key) } else { Err("an answer has another key's secret".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, usage_count: u64, open: &[&str]) -> Held {
        let open = open.iter().map(|entry| (*entry).to_owned()).collect();
        Held { id: id.to_owned(), secret: format!("sk-{id}"), usage_count, open }
    }

    fn asked(work: Work, answers: &[&str], counted: u64) -> Asked {
        let mut told = Told::default();
        answers.iter().for_each(|answer| told.keep(answer.as_bytes()));
        told.counted = counted;
        Asked { work, told, failed: 0, leases_are_kept: true }
    }

    fn leased(id: &str, entry: &str) -> String {
        format!(r#"{{"lease_id":"stability.{id}.{entry}","pool":"stability","id":"{id}","api_key":"sk-{id}"}}"#)
    }

    fn verdict(asked: &Asked, held: &[Held]) -> Result<(), String> {
        judge(Seed { uses_per_key: 2, ..Seed::usable(2) }, asked, held)
    }

    #[test]
    fn leases_that_are_all_there_are_right() {
        let (one, two, three) = (leased("a", "1"), leased("a", "2"), leased("b", "3"));
        let asked = asked(Work::Lease, &[&one, &two, &three], 0);
        assert_eq!(verdict(&asked, &[key("a", 0, &["1", "2"]), key("b", 0, &["3"])]), Ok(()));
    }

    #[test]
    fn each_wrong_answer_about_leases_is_found() {
        let (one, two) = (leased("a", "1"), leased("a", "2"));
        let both = asked(Work::Lease, &[&one, &two], 0);
        for (held, why) in [
            (vec![key("a", 1, &["1", "2"])], "over their limit"),
            (vec![key("a", 0, &["1"])], "stored"),
            (vec![key("a", 0, &["1", "2"]), key("b", 0, &["3"])], "stored"),
            (vec![key("a", 1, &["1"])], "not open"),
            (vec![key("a", 0, &["1", "9"])], "not open"),
            (vec![key("b", 0, &["1", "2"])], "not stamped"),
            (vec![Held { secret: "sk-b".to_owned(), ..key("a", 0, &["1", "2"]) }], "secret"),
        ] {
            let found = verdict(&both, &held).unwrap_err();
            assert!(found.contains(why), "{found}, not {why}");
        }
        let twice = asked(Work::Lease, &[&one, &one], 0);
        assert!(verdict(&twice, &[key("a", 0, &["1", "2"])]).unwrap_err().contains("twice"));
    }

    #[test]
    fn what_was_not_answered_may_have_happened_or_not() {
        let one = leased("a", "1");
        let lost = Asked { failed: 1, ..asked(Work::Lease, &[&one], 0) };
        assert_eq!(verdict(&lost, &[key("a", 0, &["1"])]), Ok(()));
        assert_eq!(verdict(&lost, &[key("a", 0, &["1", "2"])]), Ok(()));
        assert!(verdict(&lost, &[key("a", 0, &["1", "2"]), key("b", 0, &["3"])]).is_err());
    }

    #[test]
    fn reported_leases_are_counts() {
        let (one, two) = (leased("a", "1"), leased("a", "2"));
        let both = asked(Work::LeaseAndReport, &[&one, &two], 2);
        assert_eq!(verdict(&both, &[key("a", 2, &[])]), Ok(()));
        assert!(verdict(&both, &[key("a", 1, &["2"])]).unwrap_err().contains("counts"));
    }

    #[test]
    fn a_found_key_is_stamped_and_not_counted() {
        let one = leased("a", "1");
        let found = asked(Work::Find, &[&one, &one], 0);
        assert_eq!(verdict(&found, &[key("a", 0, &[])]), Ok(()));
        assert!(verdict(&found, &[key("a", 1, &[])]).unwrap_err().contains("counts"));
        assert!(verdict(&found, &[key("a", 0, &[]), key("b", 0, &[])]).unwrap_err().contains("stamped"));
        let counted = asked(Work::FindAndCount, &[&one, &one, &one], 3);
        assert_eq!(verdict(&counted, &[key("a", 3, &[])]), Ok(()));
        assert!(verdict(&counted, &[key("a", 2, &[])]).is_err());
    }

    #[test]
    fn each_take_is_counted_on_the_key_that_was_told() {
        let seed = Seed { pool: Pool::Plantid, uses_per_key: 2, ..Seed::usable(2) };
        let taken = asked(Work::Take, &[r#"{"Key": "sk-a"}"#, r#"{"Key":"sk-a"}"#, r#"{"Key":"sk-b"}"#], 0);
        assert_eq!(judge(seed, &taken, &[key("a", 2, &[]), key("b", 1, &[])]), Ok(()));
        assert!(judge(seed, &taken, &[key("a", 1, &[]), key("b", 2, &[])]).is_err());
        assert!(judge(seed, &taken, &[key("a", 2, &[]), key("b", 2, &[])]).is_err());
        assert!(judge(seed, &taken, &[key("a", 2, &[]), key("c", 1, &[])]).is_err());
    }
}
