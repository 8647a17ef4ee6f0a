//! A thread that owns one connection and does one step after another on it.

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::Step;
use crate::domain::Timestamp;
use crate::store::StoreError;

/// How many steps may stand in line; who comes later waits to stand in it.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The handle of the thread, which ends when the handle is dropped and its line is empty.
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    pub(super) fn start(name: &str, mut connection: Connection) -> Self {
        let (jobs, mut line) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(job) = line.blocking_recv() {
                    job(&mut connection);
                }
            })
            .expect("a thread can be started while the process starts");
        Self { jobs }
    }

    /// Does `step` in an immediate transaction: no other writer comes between what it reads and what it writes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(TransactionBehavior::Immediate, step).await
    }

    /// Does `step` on one snapshot of the file.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(TransactionBehavior::Deferred, step).await
    }

    async fn run<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Who no longer waits gets nothing done: the line moves on at once.
            if !reply.is_closed() {
                let _ = reply.send(transact(connection, behavior, step));
            }
        });
        let stopped = || StoreError::Away("the thread of the embedded store has ended".into());
        self.jobs.send(job).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

fn transact<T>(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    step: impl FnOnce(&Step<'_>) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let tx = connection.transaction_with_behavior(behavior).map_err(refused)?;
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
