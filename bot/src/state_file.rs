//! The file of what was announced: written whole or not at all, and never over a file that is not the bot's.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::alerts::Announced;

/// The largest file that is read or written, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// What stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<T> {
    /// What this is, for whoever finds it.
    keylend_bot: u32,
    announced: T,
}

/// The shape of the content: another one gets the next number.
const VERSION: u32 = 1;

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum StateFileError {
    #[error("the file cannot be read ({0}): see to its rights")]
    Unreadable(io::ErrorKind),
    #[error(
        "the file is not one of the bot's, or damaged: name another, or remove it (alerts may come once more then)"
    )]
    Foreign,
}

/// Where what was announced is kept.
pub(crate) struct StateFile {
    path: PathBuf,
    /// What stands in it.
    holds: Announced,
}

impl StateFile {
    /// The file at this path. Where there is none yet, nothing was announced.
    pub(crate) fn open(path: &Path) -> Result<Self, StateFileError> {
        let holds = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() && metadata.len() <= LARGEST => {
                let text = std::fs::read(path).map_err(|error| StateFileError::Unreadable(error.kind()))?;
                match serde_json::from_slice(&text) {
                    Ok(Content { keylend_bot: VERSION, announced }) => announced,
                    _ => return Err(StateFileError::Foreign),
                }
            }
            Ok(_) => return Err(StateFileError::Foreign),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Announced::default(),
            Err(error) => return Err(StateFileError::Unreadable(error.kind())),
        };
        Ok(Self { path: path.to_owned(), holds })
    }

    /// What was announced when the file was last written.
    pub(crate) fn announced(&self) -> &Announced {
        &self.holds
    }

    /// Keeps it, unless that is what the file holds. After a crash the file is the old one or the new one.
    pub(crate) fn keep(&mut self, announced: &Announced) -> io::Result<()> {
        if self.holds.says_the_same(announced) {
            return Ok(());
        }
        let mut text = serde_json::to_vec(&Content { keylend_bot: VERSION, announced })?;
        text.push(b'\n');
        // The next start would not take it for the bot's.
        if text.len() as u64 > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut new = NamedTempFile::new_in(folder)?;
        new.write_all(&text)?;
        new.as_file().sync_all()?;
        new.persist(&self.path)?;
        std::fs::File::open(folder)?.sync_all()?;
        self.holds = announced.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use keylend::config::AlertLow;

    use super::*;
    use crate::snapshot::{FilePool, Pool, Snapshot};

    fn announced() -> Announced {
        let dry = FilePool { available: Some(0), ..FilePool::default() };
        let look = Snapshot { plant: dry, ..Snapshot::default() };
        Announced::default().after(Ok(&look), &AlertLow::default()).0
    }

    #[test]
    fn what_is_kept_is_there_again_and_no_file_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(StateFile::open(&path).unwrap().announced(), &Announced::default());
        for content in [announced(), Announced::default(), announced()] {
            StateFile::open(&path).unwrap().keep(&content).unwrap();
            assert_eq!(StateFile::open(&path).unwrap().announced(), &content);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let mut file = StateFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.keep(&announced()).unwrap();
        assert!(!path.exists(), "what is no news is not written");
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let longest =
            "{\"keylend_bot\":1,\"announced\":{\"away\":false,\"pools\":{}}}".to_owned() + &" ".repeat(1 << 20);
        for text in ["", "x", "{}", "{\"keylend_bot\":2,\"announced\":{\"away\":false,\"pools\":{}}}", &longest] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(StateFile::open(&path), Err(StateFileError::Foreign)), "{text:.40}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert!(matches!(StateFile::open(folder.path()), Err(StateFileError::Foreign)));
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let name = "x".repeat(usize::try_from(LARGEST).unwrap());
        let pool = Pool { name, usable: Some(0), ..Pool::default() };
        let look = Snapshot { pools: vec![pool], ..Snapshot::default() };
        let (large, _) = Announced::default().after(Ok(&look), &AlertLow::default());
        let mut file = StateFile::open(&path).unwrap();
        assert_eq!(file.keep(&large).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        file.keep(&announced()).unwrap();
        assert_eq!(StateFile::open(&path).unwrap().announced(), &announced());
    }

    #[test]
    fn what_cannot_be_kept_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = StateFile::open(&folder.path().join("later").join("state.json")).unwrap();
        assert!(file.keep(&announced()).is_err());
        std::fs::create_dir(folder.path().join("later")).unwrap();
        file.keep(&announced()).unwrap();
        assert_eq!(StateFile::open(&file.path).unwrap().announced(), &announced());
    }
}
