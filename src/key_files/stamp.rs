//! What tells cheaply that a file is not the one it was.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file as the system describes it, without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// There is none, or nobody tells.
    Missing,
    /// Where it is, how long, when written and when changed.
    File { device: u64, number: u64, length: u64, written: (i64, i64), changed: (i64, i64) },
}

impl Stamp {
    /// The stamp of what is at this path now, links followed.
    pub(super) fn of(path: &Path) -> Self {
        match path.metadata() {
            Err(_) => Self::Missing,
            Ok(file) => Self::File {
                device: file.dev(),
                number: file.ino(),
                length: file.size(),
                written: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
            },
        }
    }

    /// Whether it was not written within `moment` before now; also where its clock is not ours.
    pub(super) fn rests(self, moment: Duration) -> bool {
        let Self::File { written: (seconds, nanos), .. } = self else { return true };
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else { return true };
        let written = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        SystemTime::now().duration_since(written).map_or(true, |age| age >= moment)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_that_was_not_just_written_rests() {
        let folder = tempfile::tempdir().expect("made");
        let path = folder.path().join("keys.txt");
        assert_eq!((Stamp::of(&path), Stamp::Missing.rests(Duration::ZERO)), (Stamp::Missing, true));
        let file = File::create(&path).expect("made");
        let hour = Duration::from_secs(3600);
        let written = |at: SystemTime| {
            file.set_modified(at).expect("set");
            Stamp::of(&path)
        };
        assert!(!written(SystemTime::now()).rests(hour));
        assert!(written(SystemTime::now() - 2 * hour).rests(hour));
        // A clock that is ahead of ours tells nothing.
        assert!(written(SystemTime::now() + 2 * hour).rests(hour));
        assert!(written(SystemTime::UNIX_EPOCH - hour).rests(hour));
        assert_ne!(written(SystemTime::now() - hour), written(SystemTime::now() - 2 * hour));
    }
}
