//! A thread that owns one connection and does one step after another on it. Writes that stand in line together are
//! made durable together: one transaction, and one wait for the disk.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Step, busy, schema};
use crate::domain::Timestamp;
use crate::store::StoreError;
use crate::store::vault::Vault;

/// How many steps may stand in line; who comes later waits to stand in it.
pub(super) const QUEUE: usize = 1024;

/// How long the file is left free after a write while other processes write too: long enough for one of them to
/// look. Else the process that had it has it again before anyone can.
const LEAVE_FREE: Duration = Duration::from_micros(500);

/// After this many writes with none of another process between them, nothing is left free any more.
const ALONE: u32 = 100;

/// How many writes share a transaction at most.
const TOGETHER: usize = 256;

/// What stands in line.
enum Job {
    Read(Box<dyn FnOnce(&mut Line) + Send>),
    Write(Box<dyn Write + Send>),
}

/// A write, in its turn: done once, then told once what became of it.
trait Write {
    /// Whether nobody waits for it any more.
    fn is_left(&self) -> bool;

    /// Does it. False = it failed, and all that it did is to be undone.
    fn act(&mut self, step: &Step<'_>) -> bool;

    /// Tells the one who waits what came of it; or, where it was undone or its end is not known, this instead.
    fn tell(self: Box<Self>, instead: Option<StoreError>);
}

/// A write that answers with a `T`.
struct Asked<T, F> {
    step: Option<F>,
    done: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F: FnOnce(&Step<'_>) -> rusqlite::Result<T>> Write for Asked<T, F> {
    fn is_left(&self) -> bool {
        self.reply.is_closed()
    }

    fn act(&mut self, step: &Step<'_>) -> bool {
        let act = self.step.take();
        self.done = act.map(|act| act(step));
        matches!(self.done, Some(Ok(_)))
    }

    fn tell(self: Box<Self>, instead: Option<StoreError>) {
        let told = match (instead, self.done) {
            (_, Some(Err(error))) => Err(refused(error)),
            (None, Some(Ok(value))) => Ok(value),
            (Some(error), _) => Err(error),
            (None, None) => Err(StoreError::Away("it was not done".into())),
        };
        let _ = self.reply.send(told);
    }
}

/// The handle of the thread. Dropped, it waits until the line is empty and the connection is closed: whoever closes the
/// last one to a file brings all of it into that one file.
pub(super) struct Worker {
    /// None only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A step that panicked has been told of already.
            let _ = thread.join();
        }
    }
}

/// What the thread keeps from one step to the next.
struct Line {
    connection: Connection,
    file: File,
    vault: Vault,
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
    pub(super) fn start(
        name: &str,
        connection: Connection,
        path: &Path,
        patience: Duration,
        vault: Vault,
    ) -> std::io::Result<Self> {
        let file = File::at(path)?;
        let (jobs, mut line) = mpsc::channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut state =
                Line { connection, file, vault, patience, written: Instant::now(), version: 0, alone_for: 0 };
            let mut jobs = Vec::with_capacity(TOGETHER);
            while line.blocking_recv_many(&mut jobs, TOGETHER) > 0 {
                state.work(&mut jobs);
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Does `step` in an immediate transaction: no other writer comes between what it reads and what it writes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { step: Some(step), done: None, reply };
        self.ask(Job::Write(Box::new(asked)), answer).await
    }

    /// Does `step` on one snapshot of the file.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let read = move |line: &mut Line| {
            if !reply.is_closed() {
                let _ = reply.send(line.read(step));
            }
        };
        self.ask(Job::Read(Box::new(read)), answer).await
    }

    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        let stopped = || StoreError::Away("the thread of the embedded store has ended".into());
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Line {
    fn work(&mut self, jobs: &mut Vec<Job>) {
        let mut writes = VecDeque::new();
        for job in jobs.drain(..) {
            match job {
                Job::Read(read) => read(self),
                Job::Write(write) => writes.push_back(write),
            }
        }
        while !writes.is_empty() {
            self.write(&mut writes);
        }
    }

    /// Does as many of these as fit into one transaction, and tells what became of them.
    fn write(&mut self, writes: &mut VecDeque<Box<dyn Write + Send>>) {
        let mut done = Vec::new();
        let error = match self.write_some(writes, &mut done) {
            Ok(()) => None,
            Err(error) => {
                // Those that are left would fare the same.
                done.extend(writes.drain(..));
                Some(error)
            }
        };
        for write in done {
            write.tell(error.as_ref().map(StoreError::same));
        }
    }

    fn write_some(
        &mut self,
        writes: &mut VecDeque<Box<dyn Write + Send>>,
        done: &mut Vec<Box<dyn Write + Send>>,
    ) -> Result<(), StoreError> {
        self.file.check()?;
        // Other processes that write have the file first.
        if self.alone_for < ALONE {
            std::thread::sleep(LEAVE_FREE.saturating_sub(self.written.elapsed()));
        }
        let begin = || Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
        let tx = busy::wait(self.patience, begin).map_err(refused)?;
        let mut step = Step { tx, now: Timestamp::from_millis(0), vault: &self.vault };
        let version: i64 = step
            .tx
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut version| version.query_row([], |row| row.get(0)))
            .map_err(refused)?;
        while let Some(write) = writes.pop_front() {
            // Who no longer waits gets nothing done.
            if write.is_left() {
                continue;
            }
            // One that has the transaction for itself is undone with it.
            let is_alone = done.is_empty() && writes.is_empty();
            done.push(write);
            let Some(write) = done.last_mut() else { break };
            step.now = now(&step.tx).map_err(refused)?;
            if is_alone {
                if !write.act(&step) {
                    return Ok(());
                }
                break;
            }
            run(&step.tx, "SAVEPOINT one").map_err(refused)?;
            if write.act(&step) {
                run(&step.tx, "RELEASE one").map_err(refused)?;
            } else if run(&step.tx, "ROLLBACK TO one").and_then(|()| run(&step.tx, "RELEASE one")).is_err() {
                // A disk that is full, or fails, ended the transaction: those before it are undone as well.
                return Err(StoreError::Away("another step that shared the transaction failed".into()));
            }
        }
        commit(step.tx)?;
        self.alone_for = if version == self.version { self.alone_for.saturating_add(1) } else { 0 };
        self.version = version;
        self.written = Instant::now();
        Ok(())
    }

    fn read<T>(&mut self, step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.file.check()?;
        transact(self.connection.transaction().map_err(refused)?, &self.vault, step)
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

fn transact<T>(
    tx: Transaction<'_>,
    vault: &Vault,
    step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let step_in = Step { now: now(&tx).map_err(refused)?, tx, vault };
    // A step that fails drops the transaction, which rolls it back.
    let value = step(&step_in).map_err(refused)?;
    commit(step_in.tx)?;
    Ok(value)
}

/// The transaction is the clock's reader: an instant from before it began could be older than what others wrote.
fn now(tx: &Transaction<'_>) -> rusqlite::Result<Timestamp> {
    let mut clock = tx.prepare_cached("SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)")?;
    clock.query_row([], |row| row.get(0)).map(Timestamp::from_millis)
}

fn run(tx: &Transaction<'_>, statement: &str) -> rusqlite::Result<()> {
    tx.prepare_cached(statement)?.execute([]).map(|_| ())
}

fn commit(tx: Transaction<'_>) -> Result<(), StoreError> {
    tx.commit().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Away(Box::new(error)),
        _ => StoreError::Unresolved(Box::new(error)),
    })
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
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => schema::damaged("the file of the embedded store"),
        _ => StoreError::Refused(Box::new(error)),
    }
}
