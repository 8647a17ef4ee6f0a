//! What stays of earlier values in the file and beside it: it is written anew, and its write-ahead log emptied.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{busy, schema};
use crate::store::StoreError;

/// The pause between two tries: somebody reads.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes the embedded store at `path` anew and empties the log beside it, so that no value is left there that was written
/// over since: pages that are free, or were put in order, keep parts of it. Writers wait meanwhile. False = others kept
/// reading the log for as long as `patience`: it is emptied when the last of them ends.
///
/// # Errors
/// As for opening it.
pub async fn wipe(path: &Path, patience: Duration) -> Result<bool, StoreError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || wiped(&path, patience))
        .await
        .map_err(|error| StoreError::Refused(Box::new(error)))?
}

fn wiped(path: &Path, patience: Duration) -> Result<bool, StoreError> {
    let explain = |error| schema::explain(error, path);
    let connection = schema::open(path, patience).map_err(explain)?;
    busy::wait(patience, || connection.execute_batch("VACUUM")).map_err(|error| explain(error.into()))?;
    let deadline = Instant::now() + patience;
    loop {
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        if !busy.map_err(|error| explain(error.into()))? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}
