//! The audit: who did what to which key, and when. One JSON object a line in a file of its own (`KEYLEND_AUDIT_FILE`), and
//! under the target `keylend::audit` in the log where that is asked for.
//!
//! A hand-out and a report are written before they are answered. An admin act is written before it is done and after:
//! where the audit is required, it is refused when it cannot be written.

mod entry;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::KeyId;
use crate::pool::clock;
use crate::telemetry::LogFile;

pub use entry::{Deed, Doer, Entry, Outcome};

/// Where it is written to. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    file: Option<Arc<AuditFile>>,
    /// `KEYLEND_AUDIT_REQUIRED`.
    required: bool,
}

#[derive(Debug)]
struct AuditFile {
    file: LogFile,
    /// Whether the last line could not be written: told once, and once when it is over.
    lost: AtomicBool,
}

/// An admin act that cannot be written down, and is to be.
#[derive(Debug, thiserror::Error)]
#[error("the audit cannot be written")]
pub struct NotWritten(#[from] io::Error);

impl Audit {
    /// Opens the file; None = nothing is written.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: Option<&Path>, required: bool) -> io::Result<Self> {
        let open = |path| Ok::<_, io::Error>(Arc::new(AuditFile { file: LogFile::open(path)?, lost: false.into() }));
        Ok(Self { file: path.map(open).transpose()?, required })
    }

    /// Opens the file anew, for it may have been moved away.
    ///
    /// # Errors
    /// Where it cannot be opened: the old file is written on.
    pub fn reopen(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.file.reopen())
    }

    /// Writes what has been done. Where it cannot be written the log says so, and who asked gets its answer all the same.
    pub fn done(&self, doer: &Doer, deed: &Deed) {
        let _ = self.write(doer, deed, Outcome::Done);
    }

    /// Writes that an admin act is about to be done. Where the audit is required the line is on the disk then.
    ///
    /// # Errors
    /// Where it is required and cannot be written: the act must not be done.
    pub async fn begin(&self, doer: Doer, deed: Deed) -> Result<Begun, NotWritten> {
        let begun = Begun { audit: self.clone(), doer, deed, is_told: false };
        if self.required {
            // Waiting for the disk keeps no other request from being answered.
            let (audit, doer, deed) = (self.clone(), begun.doer.clone(), begun.deed.clone());
            let written = tokio::task::spawn_blocking(move || {
                audit.write(&doer, &deed, Outcome::Begun)?;
                audit.file.as_ref().map_or(Ok(()), |file| file.file.sync())
            });
            if let Err(error) = written.await.map_err(io::Error::other).flatten() {
                // Nothing was begun.
                std::mem::forget(begun);
                return Err(error.into());
            }
        } else {
            let _ = self.write(&begun.doer, &begun.deed, Outcome::Begun);
        }
        Ok(begun)
    }

    fn write(&self, doer: &Doer, deed: &Deed, outcome: Outcome) -> io::Result<()> {
        tracing::debug!(
            target: "keylend::audit",
            by = doer.by,
            act = deed.act,
            pool = deed.pool,
            key.id = deed.key.map(tracing::field::display),
            lease.id = deed.lease,
            what = deed.what,
            outcome = outcome.as_str(),
        );
        let Some(audit) = &self.file else { return Ok(()) };
        let written = (&audit.file).write_all(&Entry::new(clock(), doer, deed, outcome).line());
        match &written {
            Ok(()) if audit.lost.swap(false, Ordering::Relaxed) => {
                tracing::info!(event = "audit_back", "the audit is written again");
            }
            Err(error) if !audit.lost.swap(true, Ordering::Relaxed) => {
                let required = self.required;
                tracing::error!(event = "audit_lost", %error, required, "KEYLEND_AUDIT_FILE cannot be written");
            }
            _ => {}
        }
        written
    }
}

/// An admin act that has been written down. Dropped before it was told as done, it is told as failed.
#[must_use = "an act is told as done, or as failed when it is dropped"]
#[derive(Debug)]
pub struct Begun {
    audit: Audit,
    doer: Doer,
    deed: Deed,
    is_told: bool,
}

impl Begun {
    /// It is done to this key, and may be done to others.
    pub fn done_to(&mut self, key: KeyId, message: &str) {
        self.tell(Some(key), message);
    }

    /// It is done; to this key, where it is of one that was not known before. `message` is for people who read the log.
    pub fn done(mut self, key: Option<KeyId>, message: &str) {
        self.tell(key, message);
    }

    fn tell(&mut self, key: Option<KeyId>, message: &str) {
        self.is_told = true;
        let deed = Deed { key: key.or(self.deed.key), ..self.deed.clone() };
        self.tell_log(&deed, message);
        self.audit.done(&self.doer, &deed);
    }

    fn tell_log(&self, deed: &Deed, message: &str) {
        tracing::info!(
            event = "admin",
            by = self.doer.by.as_deref().unwrap_or_default(),
            action = deed.act,
            pool = deed.pool,
            key.id = deed.key.map(tracing::field::display),
            lease.id = deed.lease,
            "{message}"
        );
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell_log(&self.deed, "failed, or left by who asked: some of it may be done");
            let _ = self.audit.write(&self.doer, &self.deed, Outcome::Failed);
        }
    }
}
