//! A copy of the file as it is at one moment, made beside those who write to it, and looked over before it is kept.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tempfile::NamedTempFile;

use super::schema::{self, Found, OpenError};
use crate::store::StoreError;

/// Copies the embedded store at `path` to the new file `copy`, which is whole and on the disk when this returns, and is
/// not there otherwise. Answers its size in bytes. `patience` is how long it waits for other processes.
///
/// # Errors
/// [`StoreError::Unusable`] where there is no store at `path`, where it is damaged, another program's or another
/// version's, or where `copy` cannot be made or is there already.
pub async fn back_up(path: &Path, copy: &Path, patience: Duration) -> Result<u64, StoreError> {
    let (path, copy) = (path.to_owned(), copy.to_owned());
    tokio::task::spawn_blocking(move || copied(&path, &copy, patience))
        .await
        .map_err(|error| StoreError::Refused(Box::new(error)))?
}

fn copied(path: &Path, copy: &Path, patience: Duration) -> Result<u64, StoreError> {
    let told = |error: std::io::Error| StoreError::Unusable(format!("{} cannot be made: {error}", copy.display()));
    let in_the_way = || {
        let advice = "name another file, for this one may be the only copy";
        StoreError::Unusable(format!("{} is there already: {advice}", copy.display()))
    };
    if !path.exists() {
        let advice = "name the file of the embedded store with KEYLEND_DATA";
        return Err(StoreError::Unusable(format!("there is no {}: {advice}", path.display())));
    }
    if copy.symlink_metadata().is_ok() {
        return Err(in_the_way());
    }
    let folder = copy.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Readable for its owner only, and gone with this where it does not come to be the copy.
    let beside = tempfile::Builder::new().prefix(".keylend-backup-").tempfile_in(folder).map_err(told)?;
    fill(path, &beside, patience).map_err(|error| schema::explain(error, path))?;
    let size = beside.as_file().metadata().map_err(told)?.len();
    beside.as_file().sync_all().map_err(told)?;
    beside.persist_noclobber(copy).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => in_the_way(),
        _ => told(error.error),
    })?;
    // The name as well is on the disk then.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(told)?;
    Ok(size)
}

fn fill(path: &Path, beside: &NamedTempFile, patience: Duration) -> Result<(), OpenError> {
    // Who may not read it is told so, in clearer words than SQLite's.
    File::open(path).map_err(OpenError::Create)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(path, flags)?;
    from.busy_timeout(patience)?;
    if schema::recognise(&from)? == Found::New {
        return Err(OpenError::Foreign);
    }
    // As of one moment, beside those who write; and only what is there, nothing of what was written over or removed.
    let name = beside.path().to_str().ok_or(OpenError::NotText)?;
    from.execute("VACUUM INTO ?1", [name])?;
    let to = Connection::open_with_flags(beside.path(), flags)?;
    // One file, without a log beside it; the next start turns it over to one again.
    to.pragma_update(None, "journal_mode", "DELETE")?;
    let found: String = to.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenError::Damaged),
    }
}
