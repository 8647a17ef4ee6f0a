//! A thread that owns one connection and does one step after another on it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Step, busy};
use crate::domain::Timestamp;
use crate::store::StoreError;

/// How many steps may stand in line; who comes later waits to stand in it.
pub(super) const QUEUE: usize = 1024;

/// How long the file is left free after a write while other processes write too: long enough for one of them to
/// look. Else the process that had it has it again before anyone can.
const LEAVE_FREE: Duration = Duration::from_micros(500);

/// After this many writes with none of another process between them, nothing is left free any more.
const ALONE: u32 = 100;

type Job = Box<dyn FnOnce(&mut Line) + Send>;

/// The handle of the thread, which ends when the handle is dropped and its line is empty.
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
}

/// What the thread keeps from one step to the next.
struct Line {
    connection: Connection,
    file: File,
    /// How long a write waits for other processes.
    patience: Duration,
    /// The end of the last write.
    written: Instant,
    /// SQLite's number that changes when another connection has changed the file.
    version: i64,
    /// Writes since it changed.
    alone_for: u32,
}

impl Worker {
    /// Starts it on an open `connection` to the file at `path`.
    pub(super) fn start(name: &str, connection: Connection, path: &Path, patience: Duration) -> std::io::Result<Self> {
        let file = File::at(path)?;
        let (jobs, mut line) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut state = Line { connection, file, patience, written: Instant::now(), version: 0, alone_for: 0 };
            while let Some(job) = line.blocking_recv() {
                job(&mut state);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Does `step` in an immediate transaction: no other writer comes between what it reads and what it writes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(|line| line.write(step)).await
    }

    /// Does `step` on one snapshot of the file.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(|line| line.read(step)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Line) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |line| {
            // Who no longer waits gets nothing done: the line moves on at once.
            if !reply.is_closed() {
                let _ = reply.send(work(line));
            }
        });
        let stopped = || StoreError::Away("the thread of the embedded store has ended".into());
        self.jobs.send(job).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Line {
    fn write<T>(&mut self, step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.file.check()?;
        // Other processes that write have the file first.
        if self.alone_for < ALONE {
            std::thread::sleep(LEAVE_FREE.saturating_sub(self.written.elapsed()));
        }
        let begin = || Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
        let tx = busy::wait(self.patience, begin).map_err(refused)?;
        let (value, version) = transact(tx, |step_in| {
            let mut version = step_in.tx.prepare_cached("PRAGMA data_version")?;
            Ok((step(step_in)?, version.query_row([], |row| row.get(0))?))
        })?;
        self.alone_for = if version == self.version { self.alone_for.saturating_add(1) } else { 0 };
        self.version = version;
        self.written = Instant::now();
        Ok(value)
    }

    fn read<T>(&mut self, step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.file.check()?;
        transact(self.connection.transaction().map_err(refused)?, step)
    }
}

/// The file that a connection has open. It stays open when somebody moves or removes it: what is written to it then,
/// the next start would not find.
struct File {
    path: Box<Path>,
    device: u64,
    number: u64,
}

impl File {
    fn at(path: &Path) -> std::io::Result<Self> {
        let there = path.metadata()?;
        Ok(Self { path: path.into(), device: there.dev(), number: there.ino() })
    }

    fn check(&self) -> Result<(), StoreError> {
        let is_this = |there: &Metadata| (there.dev(), there.ino()) == (self.device, self.number);
        match self.path.metadata() {
            Ok(there) if is_this(&there) => Ok(()),
            Ok(_) => Err(StoreError::Away("another file is in its place: bring it back, or start anew".into())),
            Err(error) => Err(StoreError::Away(Box::new(error))),
        }
    }
}

fn transact<T>(tx: Transaction<'_>, step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
    // The transaction is the clock's reader: an instant from before it began could be older than what others wrote.
    let now = tx
        .prepare_cached("SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)")
        .and_then(|mut clock| clock.query_row([], |row| row.get(0)))
        .map(Timestamp::from_millis)
        .map_err(refused)?;
    let step_in = Step { tx, now };
    // A step that fails drops the transaction, which rolls it back.
    let value = step(&step_in).map_err(refused)?;
    step_in.tx.commit().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Away(Box::new(error)),
        _ => StoreError::Unresolved(Box::new(error)),
    })?;
    Ok(value)
}

/// An error before the commit: nothing was changed.
fn refused(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly,
        ) => StoreError::Away(Box::new(error)),
        _ => StoreError::Refused(Box::new(error)),
    }
}
