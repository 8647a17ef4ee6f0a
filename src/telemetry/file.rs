//! The log file: appended to, its owner's alone, opened anew when it was moved away.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file that a line goes to as soon as it is logged.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    opened: Mutex<Opened>,
}

#[derive(Debug)]
struct Opened {
    file: File,
    /// The last line was cut off, as by a full disk or a kill: the next one begins after an end of line.
    is_torn: bool,
}

impl LogFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), opened: Mutex::new(Opened::at(path)?) })
    }

    pub(crate) fn reopen(&self) -> io::Result<()> {
        let new = Opened::at(&self.path)?;
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Waits until what was written is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // A copy of the handle: lines can be written meanwhile.
        let file = self.opened.lock().unwrap_or_else(PoisonError::into_inner).file.try_clone()?;
        match file.sync_data() {
            // A pipe or a device has nothing to wait for.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other,
        }
    }
}

impl io::Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A whole line comes in one call: two lines never mix, and none is split over two files.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.is_torn {
            io::Write::write_all(&mut opened.file, b"\n")?;
        }
        opened.is_torn = true;
        io::Write::write_all(&mut opened.file, line)?;
        opened.is_torn = false;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Opened {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file, is_torn: ends_in_a_line(path).unwrap_or(false) })
    }
}

/// Whether the file's last line has no end.
fn ends_in_a_line(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let status = file.metadata()?;
    if !status.is_file() || status.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lines_are_appended_and_none_is_lost_when_the_file_is_moved() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("x.log"), folder.path().join("x.log.1"));
        std::fs::write(&path, "before\n").unwrap();
        let log = LogFile::open(&path).unwrap();
        (&log).write_all(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        (&log).write_all(b"two\n").unwrap();
        log.reopen().unwrap();
        (&log).write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "before\none\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Where it cannot be opened anew, the old one is written on.
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(log.reopen().is_err());
        (&log).write_all(b"four\n").unwrap();
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_take_the_next_one_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, "one\ntw").unwrap();
        let log = LogFile::open(&path).unwrap();
        (&log).write_all(b"three\n").unwrap();
        (&log).write_all(b"four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntw\nthree\nfour\n");
        let full = LogFile::open(Path::new("/dev/full")).unwrap();
        assert!((&full).write_all(b"one\n").is_err());
        assert!(full.sync().is_ok());
    }
}
