//! `keylend keys export --flask`: the files with which the older Flask server can take over again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::act::Acts;
use crate::cli::{Failure, output, store};
use crate::config::Settings;
use crate::domain::NewKey;
use crate::pool::export::{Export, Part};
use crate::pool::{Pool, PoolError};

/// The pools that the older server has, and its files of them.
const FILES: [(&str, &str); 2] = [("plantid", "plantid.txt"), ("healthid", "healthid.txt")];

/// Its file of how many requests the first key of each was given to.
const STATE: &str = "api_state.json";

/// The most that it counts for one key.
const MOST: u64 = 100;

pub(super) async fn run(settings: &Settings, folder: &Path) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let acts = Acts::of(settings)?;
    // By name, however JSON objects are kept.
    let (mut files, mut state) = (Vec::new(), BTreeMap::new());
    for (pool, name) in FILES {
        let pool = pools.get(pool)?;
        let begun = acts.begin("export", Some(&pool.policy().name), None).await?;
        let (keys, left_out) = lendable(pool).await?;
        begun.done(None, "the keys are exported");
        output::complain(&format!("{name}: {} keys; {left_out} spent, disabled or invalid left out", keys.len()));
        let used = keys.iter().skip(1).filter(|key| key.usage_count > 0).count();
        if used > 0 {
            output::complain(&format!(
                "{name}: {used} keys after the first have uses that the older server cannot know"
            ));
        }
        let count = keys.first().map_or(0, |key| key.usage_count.min(MOST));
        state.insert(pool.policy().name.to_string(), count);
        let lines: Vec<String> = keys.iter().map(|key| format!("{}\n", key.secret.expose())).collect();
        files.push((folder.join(name), lines.concat()));
    }
    files.push((folder.join(STATE), format!("{}\n", json!(state))));
    write(&files)
}

/// The keys that the older server may hand out, in the pool's order, and how many others there are. Leases count as
/// uses, as in every export.
async fn lendable(pool: &Pool) -> Result<(Vec<NewKey>, u64), PoolError> {
    let mut export = Export::new(pool);
    let (mut lendable, mut left_out) = (Vec::new(), 0);
    while let Some(part) = export.next().await? {
        match part {
            Part::Keys(keys) => {
                let all = keys.len();
                let before = lendable.len();
                let uses_per_key = u64::from(pool.policy().uses_per_key);
                lendable.extend(keys.into_iter().filter(|key| key.is_active && key.usage_count < uses_per_key));
                left_out += (all - (lendable.len() - before)) as u64;
            }
            Part::End(ending) => left_out += ending.invalid,
        }
    }
    Ok((lendable, left_out))
}

/// Writes all files or none. None that is there is written over: it can be the only copy.
fn write(files: &[(PathBuf, String)]) -> Result<(), Failure> {
    let mut made: Vec<(&PathBuf, File)> = Vec::new();
    for (path, _) in files {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => made.push((path, file)),
            Err(error) => return Err(undo(&made, path, &error)),
        }
    }
    for ((path, text), (_, file)) in files.iter().zip(&made) {
        let mut file = file;
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
            return Err(undo(&made, path, &error));
        }
    }
    Ok(())
}

/// Takes away what was made here, and says why.
fn undo(made: &[(&PathBuf, File)], path: &Path, error: &io::Error) -> Failure {
    for (path, _) in made {
        let _ = std::fs::remove_file(path);
    }
    Failure::Failed(format!("{}: {error}; nothing was written", path.display()))
}
