//! The driver's errors, by what must be believed afterwards.
//!
//! A server's message can repeat the values it was about, and so a secret (a duplicate is told with its key):
//! only its code and the name of the code are passed on.

use std::time::Duration;

use mongodb::error::{Error, ErrorKind, NO_WRITES_PERFORMED, RETRYABLE_WRITE_ERROR, WriteFailure};

use crate::store::StoreError;
use crate::store::error::Cause;

/// The code of a duplicate in a unique index.
const DUPLICATE_KEY: i32 = 11000;

/// Codes of a conflict between writers that changed nothing: MongoDB's WriteConflict, and PostgreSQL's deadlock
/// (40P01) as the compatible server behind the tests gives it.
const CONFLICTS: [i32; 2] = [112, 16_908_292];

/// How often a conflict is tried again. A deadlock took the server a second to find out.
const CONFLICT_TRIES: u32 = 8;

/// What a command error says, without the server's message.
#[derive(Debug, thiserror::Error)]
#[error("MongoDB answered code {code}{name}")]
struct Answered {
    code: i32,
    name: String,
}

impl Answered {
    fn new(code: i32, name: Option<&str>) -> Self {
        let name = name.filter(|name| !name.is_empty()).map(|name| format!(" ({name})")).unwrap_or_default();
        Self { code, name }
    }
}

/// The failure of an operation that changes something.
pub fn of_write(error: Error) -> StoreError {
    let untouched = error.contains_label(NO_WRITES_PERFORMED) || is_conflict(&error);
    let retryable = error.contains_label(RETRYABLE_WRITE_ERROR);
    let what = what_happened(&error);
    match *error.kind {
        ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::Shutdown => StoreError::Away(what),
        _ if untouched => StoreError::Away(what),
        ErrorKind::Command(ref command) if retryable || UNSURE.contains(&command.code) => StoreError::Unresolved(what),
        ErrorKind::Command(_) | ErrorKind::Write(WriteFailure::WriteError(_)) | ErrorKind::InvalidArgument { .. } => {
            StoreError::Refused(what)
        }
        ErrorKind::InsertMany(ref insert) if insert.write_concern_error.is_none() => StoreError::Refused(what),
        // A write concern that was not met, and an answer that was lost or could not be read, never mean that
        // nothing was written.
        _ => StoreError::Unresolved(what),
    }
}

/// The error in words that cannot hold a secret: the driver's own text can end with the server's whole answer.
fn what_happened(error: &Error) -> Cause {
    match *error.kind {
        ErrorKind::Command(ref command) => Box::new(Answered::new(command.code, Some(&command.code_name))),
        ErrorKind::Write(WriteFailure::WriteError(ref write)) => {
            Box::new(Answered::new(write.code, write.code_name.as_deref()))
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(ref concern)) => {
            Box::new(Answered::new(concern.code, Some(&concern.code_name)))
        }
        ErrorKind::InsertMany(ref insert) => {
            let first = insert.write_errors.iter().flatten().next();
            Box::new(match (first, &insert.write_concern_error) {
                (_, Some(concern)) => Answered::new(concern.code, Some(&concern.code_name)),
                (Some(write), None) => Answered::new(write.code, write.code_name.as_deref()),
                (None, None) => Answered::new(0, None),
            })
        }
        // About servers and addresses, from before a command was sent.
        ErrorKind::ServerSelection { ref message, .. }
        | ErrorKind::DnsResolve { ref message, .. }
        | ErrorKind::InvalidTlsConfig { ref message, .. }
        | ErrorKind::ConnectionPoolCleared { ref message, .. } => message.clone().into(),
        ErrorKind::Authentication { .. } => "MongoDB does not accept the user or the password".into(),
        ErrorKind::Io(ref io) => format!("the connection failed: {}", io.kind()).into(),
        ErrorKind::InvalidResponse { .. } | ErrorKind::Bson(_) => "MongoDB's answer could not be read".into(),
        ErrorKind::InvalidArgument { .. } => "the driver does not take an argument".into(),
        ErrorKind::IncompatibleServer { ref message, .. } => message.clone().into(),
        _ => "the driver failed".into(),
    }
}

/// Codes of commands that were stopped on their way: out of their `maxTimeMS` (50), interrupted (11601), out of a
/// mongos's time (202). What they did until then may stay.
const UNSURE: [i32; 3] = [50, 11601, 202];

/// The failure of an operation that changes nothing.
pub fn of_read(error: Error) -> StoreError {
    match of_write(error) {
        StoreError::Unresolved(cause) => StoreError::Away(cause),
        other => other,
    }
}

/// Whether a unique index refused the change.
pub(super) fn is_duplicate(error: &Error) -> bool {
    match *error.kind {
        // The compatible server behind the tests tells of an index that it keeps as an exclusion constraint.
        ErrorKind::Command(ref command) => {
            command.code == DUPLICATE_KEY || command.message.contains("exclusion constraint")
        }
        ErrorKind::Write(WriteFailure::WriteError(ref write)) => write.code == DUPLICATE_KEY,
        _ => false,
    }
}

fn is_conflict(error: &Error) -> bool {
    matches!(*error.kind, ErrorKind::Command(ref command)
        if CONFLICTS.contains(&command.code) || command.message.contains("deadlock detected"))
}

/// Does `operation`, and again where it met another writer and changed nothing. The caller's time limit bounds it all.
///
/// # Errors
/// Those of the operation: a conflict only where it met one again and again.
pub async fn again_after_conflicts<T, F>(operation: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tried = 1;
    loop {
        match operation().await {
            Err(error) if is_conflict(&error) && tried < CONFLICT_TRIES => {
                tokio::time::sleep(Duration::from_millis(rand::random_range(1..=10 << tried))).await;
                tried += 1;
            }
            other => return other,
        }
    }
}
