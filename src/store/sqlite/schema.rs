//! The file: how it is recognised, opened and made; the tables and the indexes, each with its query.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use super::{Step, busy};
use crate::domain::{Picks, Policy};
use crate::store::{StoreError, vault};

/// Marks a file as keylend's in its header: "klnd".
const APPLICATION_ID: i32 = 0x6b6c_6e64;

/// The version of the tables that this program knows.
const VERSION: i32 = 2;

/// How much of the file a connection keeps in memory: 32 MiB, as SQLite says it in KiB. The indexes of a million keys
/// are written far quicker than with its own 2 MiB.
const CACHE_KIB: i32 = -32 * 1024;

/// After how many pages of 4 KiB the write-ahead log is written into the file. A page that many steps change is then
/// written once: four times as many as SQLite's own 1,000 make an import half as long again quicker.
const CHECKPOINT_PAGES: i32 = 4_000;

/// How many prepared statements a connection keeps.
const STATEMENTS: usize = 128;

/// Leases of all pools, and what is not about one key.
///
/// - `leases_of_key`: the open leases of one key, counted in every pick.
/// - `leases_by_end`: the sweep's lapsed leases.
/// - `leases_by_idem`: one open lease per Idempotency-Key, and the look for it; without a key, `idem` is null.
const SHARED_TABLES: &str = "
    CREATE TABLE leases (
        entry TEXT NOT NULL PRIMARY KEY,
        collection TEXT NOT NULL,
        key TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        by TEXT NOT NULL,
        idem TEXT,
        repeated INTEGER NOT NULL DEFAULT 0 CHECK (repeated IN (0, 1))
    ) STRICT;
    CREATE UNIQUE INDEX leases_by_idem ON leases (collection, idem) WHERE idem IS NOT NULL;
    CREATE INDEX leases_of_key ON leases (key, expires_at);
    CREATE INDEX leases_by_end ON leases (collection, expires_at);
    CREATE TABLE keylend_meta (name TEXT NOT NULL PRIMARY KEY, value ANY) STRICT;
";

/// The columns that tables of the same version may lack: programs that do not know them pass them over.
const LATER_COLUMNS: [(&str, &str); 6] = [
    ("verified_at", "INTEGER"),
    ("verdict", "TEXT"),
    ("credits", "REAL"),
    ("sealed", "BLOB"),
    ("sealed_by", "TEXT"),
    ("unreadable", "BLOB"),
];

/// What `id`, `api_key` and `usage_count` must be; the rules of `domain::secret` and `domain::key`. For the functions of
/// SQLite a text ends with the first NUL in it.
const IS_ID: &str = "length(id) = 24 AND id NOT GLOB '*[^0-9a-f]*' AND instr(id, char(0)) = 0";
pub(super) const IS_SECRET: &str =
    "length(api_key) BETWEEN 1 AND 4096 AND api_key NOT GLOB '*[^!-~]*' AND instr(api_key, char(0)) = 0";
pub(super) const IS_COUNT: &str = "usage_count BETWEEN 0 AND 9007199254740992";

/// Opens the file and makes it keylend's where it is new.
pub(super) fn open(path: &Path, patience: Duration) -> Result<Connection, OpenError> {
    // The file holds secrets: made readable for its owner only. SQLite gives its companions the same mode.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(OpenError::Create(error));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Else most statements are planned anew each time that they are given other values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let found = recognise(&connection)?;
    // The write-ahead log lets readers go on beside a writer; FULL makes every commit durable when it is answered.
    // SQLite does not wait by itself where two processes turn a new file over to it at once.
    busy::wait(patience, || connection.pragma_update(None, "journal_mode", "WAL"))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted or written over is wiped: a secret that was removed, or is encrypted from now on, stays nowhere.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    if found == Found::Ours {
        return Ok(connection);
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if recognise(&tx)? == Found::New {
        tx.execute_batch(SHARED_TABLES)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", VERSION)?;
    }
    tx.commit()?;
    Ok(connection)
}

/// What a file is.
#[derive(PartialEq)]
pub(super) enum Found {
    /// Empty.
    New,
    /// An embedded store of this version.
    Ours,
}

/// Why a file cannot be the embedded store.
#[derive(Debug)]
pub(super) enum OpenError {
    Create(std::io::Error),
    Thread(std::io::Error),
    Foreign,
    OtherVersion(i32),
    Damaged,
    NotText,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What the file is, by its header.
pub(super) fn recognise(connection: &Connection) -> Result<Found, OpenError> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, VERSION) => Ok(Found::Ours),
        (APPLICATION_ID, version) => Err(OpenError::OtherVersion(version)),
        (0, 0) if tables == 0 => Ok(Found::New),
        _ => Err(OpenError::Foreign),
    }
}

/// Says what is wrong with the file and what to do. It was not changed.
pub(super) fn explain(error: OpenError, path: &Path) -> StoreError {
    let file = path.display();
    let advice = "name another file with KEYLEND_DATA";
    match error {
        OpenError::Create(error) => StoreError::Unusable(format!(
            "{file} cannot be opened ({error}): see to its folder and rights, or {advice}"
        )),
        OpenError::Thread(error) => StoreError::Away(Box::new(error)),
        OpenError::Foreign => StoreError::Unusable(format!("{file} is another program's database: {advice}")),
        OpenError::OtherVersion(version) => StoreError::Unusable(format!(
            "{file} was made by {} version of keylend (version {version} of the tables, this one knows {VERSION}); it was \
             left as it is: run that one, or {advice}",
            if version < VERSION { "an older" } else { "a newer" },
        )),
        OpenError::NotText => {
            StoreError::Unusable("a copy needs a path that is UTF-8 text: name another one".to_owned())
        }
        OpenError::Damaged => damaged(&file.to_string()),
        OpenError::Sqlite(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(&file.to_string()),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::Unusable(
                format!("{file} cannot be opened for writing ({error}): see to its rights, or {advice}"),
            ),
            _ => StoreError::Away(Box::new(error)),
        },
    }
}

/// What is said of a file that SQLite cannot understand, or no longer.
pub(super) fn damaged(file: &str) -> StoreError {
    StoreError::Unusable(format!(
        "{file} is damaged or no SQLite file; it was left as it is: stop keylend and bring it back from a copy (`keylend \
         backup` makes some), or name another file with KEYLEND_DATA"
    ))
}

/// Makes the table of one pool and the index that serves its order.
///
/// - UNIQUE (api_key): a secret is one key; look-ups by secret.
/// - `NAME_by_last_used` or `NAME_by_order`: the pick, which goes through the counts below the limit one by one and
///   so never walks spent keys.
/// - `NAME_by_place`, in an `in_order` pool: the list.
///
/// The inner error says which of this instance's keys for secrets are other ones than the store knows, and what to do.
pub(super) fn prepare(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<Result<(), String>> {
    for (name, fingerprint, _) in step.vault.recorded() {
        step.tx.execute("INSERT OR IGNORE INTO keylend_meta (name, value) VALUES (?1, ?2)", (&name, &fingerprint))?;
    }
    if let Some(why) = other_keys(step)? {
        return Ok(Err(why));
    }
    let table = &pool.collection;
    step.tx.execute_batch(&format!(
        r#"
        CREATE TABLE IF NOT EXISTS "{table}" (
            id TEXT NOT NULL PRIMARY KEY CHECK ({IS_ID}),
            api_key TEXT NOT NULL UNIQUE CHECK ({IS_SECRET}),
            usage_count INTEGER NOT NULL DEFAULT 0 CHECK ({IS_COUNT}),
            last_used INTEGER,
            is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
            resting_until INTEGER,
            disabled_reason TEXT,
            "order" INTEGER,
            note TEXT,
            added_at INTEGER,
            from_file INTEGER NOT NULL DEFAULT 0 CHECK (from_file IN (0, 1)),
            verified_at INTEGER,
            verdict TEXT,
            credits REAL,
            sealed BLOB,
            sealed_by TEXT,
            unreadable BLOB
        ) STRICT;
        "#
    ))?;
    for (name, of_type) in LATER_COLUMNS {
        if !step.tx.column_exists(None::<&str>, table.as_str(), name)? {
            step.tx.execute_batch(&format!("ALTER TABLE \"{table}\" ADD COLUMN {name} {of_type}"))?;
        }
    }
    if lacks_keys(step, pool)? {
        return Ok(Err(vault::no_keys(pool)));
    }
    for (name, columns) in indexes(pool) {
        step.tx.execute_batch(&format!("CREATE INDEX IF NOT EXISTS \"{name}\" ON \"{table}\" ({columns});"))?;
    }
    Ok(Ok(()))
}

/// What to say of a key of this instance that is another one than the store knows by its name; None = all are the same,
/// or not known yet.
pub(super) fn other_keys(step: &Step<'_>) -> rusqlite::Result<Option<String>> {
    let mut find = step.tx.prepare_cached("SELECT value FROM keylend_meta WHERE name = ?1")?;
    for (name, fingerprint, setting) in step.vault.recorded() {
        let known = find.query_row([&name], |row| row.get::<_, String>(0)).optional()?;
        if known.is_some_and(|known| known != fingerprint) {
            return Ok(Some(vault::other_key(&name, setting)));
        }
    }
    Ok(None)
}

/// Whether the pool, whose table is there, holds encrypted keys and this instance has no keys for secrets.
pub(super) fn lacks_keys(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<bool> {
    if step.vault.has_keys() {
        return Ok(false);
    }
    // A range of the index on it.
    let mut find = step.tx.prepare_cached(&format!(
        "SELECT 1 FROM \"{}\" WHERE api_key >= ?1 AND api_key < ?2 LIMIT 1",
        pool.collection
    ))?;
    find.exists(vault::RANGE)
}

/// Whether the table of a pool was made by an older program, and lacks columns.
pub(super) fn is_older(step: &Step<'_>, pool: &Policy) -> rusqlite::Result<bool> {
    let (last, _) = LATER_COLUMNS[LATER_COLUMNS.len() - 1];
    // By a statement, which sees what other connections have made since this one looked.
    let mut column = step.tx.prepare_cached("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?;
    column.exists((&pool.collection, last)).map(|is_there| !is_there)
}

/// The names of the indexes of a pool's table, and their columns.
pub(super) fn indexes(pool: &Policy) -> Vec<(String, &'static str)> {
    let table = &pool.collection;
    let mut indexes = vec![
        (format!("{table}_by_last_used"), "is_active, usage_count, last_used, id"),
        (format!("{table}_by_order"), "is_active, usage_count, \"order\", id"),
    ];
    if pool.picks == Picks::InOrder {
        indexes.push((format!("{table}_by_place"), "\"order\", id"));
    }
    indexes
}
