//! The plan for people.

use super::plan::{Plan, PoolReport};
use crate::cli::{Failure, output};
use crate::domain::State;

/// How many documents of a kind are named; with `--json` there are more.
const NAMED: usize = 20;

pub(super) fn tell(plan: &Plan) -> Result<(), Failure> {
    heading("Settings")?;
    let settings = plan.settings.iter();
    let rows = settings.map(|told| vec![told.setting.to_owned(), told.value.clone(), told.origin.clone()]);
    output::print_table(&["SETTING", "VALUE", "FROM"], rows.collect())?;

    heading("\nStore")?;
    output::print(&match (&plan.store.error, plan.store.exists) {
        (Some(error), _) => format!("{}: {error}", plan.store.name),
        (None, true) => format!("{}: answers", plan.store.name),
        (None, false) => format!("{}: not there yet; keylend makes it when it starts", plan.store.name),
    })?;

    if !plan.databases.is_empty() {
        heading("\nDatabases")?;
        let rows = plan.databases.iter().map(|database| {
            let collections = database.collections.iter().map(|(name, count)| format!("{name} {count}"));
            let in_use = if database.in_use { "in use" } else { "" };
            vec![database.name.clone(), in_use.to_owned(), collections.collect::<Vec<_>>().join(", ")]
        });
        output::print_table(&["DATABASE", "", "COLLECTIONS AND ABOUT HOW MANY DOCUMENTS"], rows.collect())?;
    }
    if !plan.pools.is_empty() {
        heading("\nPools")?;
        tell_pools(&plan.pools)?;
    }
    if !plan.key_files.is_empty() {
        heading("\nKey files")?;
        let rows = plan.key_files.iter().map(|file| {
            let (keys, invalid) = (file.keys.to_string(), file.invalid.to_string());
            vec![file.path.clone(), file.pool.to_owned(), keys, invalid]
        });
        output::print_table(&["FILE", "POOL", "KEYS", "INVALID LINES"], rows.collect())?;
    }
    heading("\nFindings")?;
    if plan.findings.is_empty() {
        output::print("all is well")?;
    }
    for finding in &plan.findings {
        output::print(&format!("- {finding}"))?;
    }
    heading("\nNext")?;
    for command in &plan.next {
        output::print(&format!("  {command}"))?;
    }
    Ok(())
}

fn heading(text: &str) -> Result<(), Failure> {
    output::print(text)
}

fn tell_pools(pools: &[PoolReport]) -> Result<(), Failure> {
    let mut headings = vec!["POOL".to_owned(), "COLLECTION".to_owned(), "DOCUMENTS".to_owned()];
    headings.extend(State::ALL.map(|state| state.as_str().to_uppercase()));
    headings.extend(["WITH CREDITS", "TO MIGRATE", "DUPLICATES"].map(str::to_owned));
    let rows = pools.iter().map(|pool| {
        let documents = if pool.exists { pool.documents.to_string() } else { "not there yet".to_owned() };
        let mut row = vec![pool.name.clone(), pool.collection.clone(), documents];
        let states = State::ALL.map(|state| pool.keys.get(state.as_str()).copied().unwrap_or(0));
        row.extend(states.map(|count| count.to_string()));
        row.extend([pool.with_credits, pool.needs_migration, pool.duplicates].map(|count| count.to_string()));
        row
    });
    output::print_table(&headings.iter().map(String::as_str).collect::<Vec<_>>(), rows.collect())?;
    for pool in pools {
        let name = &pool.name;
        let invalid = pool.invalid_keys.iter().map(|key| format!("{}: {}", key.id, key.reasons.join(", ")));
        tell_some(&format!("pool {name}: invalid"), invalid, pool.invalid)?;
        let duplicates = pool.duplicate_ids.iter().map(|ids| ids.join(", "));
        tell_some(&format!("pool {name}: one secret in several documents"), duplicates, pool.duplicates)?;
        if !pool.encrypted.is_empty() {
            let by = pool.encrypted.iter().map(|(by, keys)| format!("{keys} by {by}"));
            output::print(&format!("pool {name}: encrypted are {}", by.collect::<Vec<_>>().join(", ")))?;
        }
        if pool.exists && !pool.missing_indexes.is_empty() {
            let missing = pool.missing_indexes.join(", ");
            output::print(&format!("pool {name}: keylend makes these indexes when it starts: {missing}"))?;
        }
    }
    Ok(())
}

/// The first of many, and how many more there are.
fn tell_some(heading: &str, texts: impl Iterator<Item = String>, all: u64) -> Result<(), Failure> {
    if all == 0 {
        return Ok(());
    }
    output::print(&format!("{heading}:"))?;
    let mut named = 0;
    for text in texts.take(NAMED) {
        output::print(&format!("  {text}"))?;
        named += 1;
    }
    if all > named {
        output::print(&format!("  and {} more", all - named))?;
    }
    Ok(())
}
