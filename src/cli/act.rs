//! What operators do by typing: written into the audit before it is done and after, and told in the log file.

use super::{Failure, output};
use crate::audit::{Audit, Begun, Deed, Doer};
use crate::config::Settings;
use crate::domain::{KeyId, PoolName};

/// Who does it.
pub const BY: &str = "the command line";

/// The acts of a command.
pub struct Acts(Audit);

impl Acts {
    /// Opens the audit of the settings.
    ///
    /// # Errors
    /// Where it cannot be opened and is required. One that is the server's alone keeps nobody from a command otherwise.
    pub fn of(settings: &Settings) -> Result<Self, Failure> {
        let audit = &settings.audit;
        match Audit::open(audit.file.as_deref(), audit.required) {
            Ok(audit) => Ok(Self(audit)),
            Err(error) if audit.required => Err(refused(&error)),
            Err(error) => {
                output::complain(&format!("KEYLEND_AUDIT_FILE cannot be opened ({error}): this is not written there"));
                Ok(Self(Audit::default()))
            }
        }
    }

    /// An act is about to be done: to a key, to a pool where None, or to all of the store.
    ///
    /// # Errors
    /// Where it is required to be written and cannot be: it must not be done.
    pub async fn begin(
        &self,
        act: &'static str,
        pool: Option<&PoolName>,
        key: Option<KeyId>,
    ) -> Result<Begun, Failure> {
        let uid = Some(rustix::process::getuid().as_raw());
        let doer = Doer { by: Some(BY.to_owned()), uid, ..Doer::default() };
        let deed = Deed { act, pool: pool.map(PoolName::to_string), key, ..Deed::default() };
        self.0.begin(doer, deed).await.map_err(|error| refused(&error))
    }
}

fn refused(error: &dyn std::error::Error) -> Failure {
    let why = error.source().unwrap_or(error);
    Failure::Failed(format!(
        "KEYLEND_AUDIT_FILE cannot be written ({why}), and KEYLEND_AUDIT_REQUIRED is true: nothing was changed"
    ))
}
