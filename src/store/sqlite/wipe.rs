//! What stays of earlier values beside the file: its write-ahead log is brought into it, and emptied.

use std::path::Path;
use std::time::{Duration, Instant};

use super::schema;
use crate::store::StoreError;

/// The pause between two tries: somebody reads.
const PAUSE: Duration = Duration::from_millis(20);

/// Empties the log beside the embedded store at `path`, so that no value is left there that was written over since.
/// False = others kept reading it for as long as `patience`: it is emptied when the last of them ends.
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
