//! Reading a key file as somebody's editor, script or older server left it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::domain::Secret;
use crate::domain::secret::{InvalidSecret, MAX_LEN};
use crate::pool::import::{MARK, grow};

/// The largest file that is followed: room for a million keys of the usual length.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// How many lines are told of that are no keys.
const TOLD: usize = 20;

/// A line without its secret, by which lines are compared; what [`Secret::fingerprint`] gives.
pub type Fingerprint = [u8; 16];

/// What a key file says.
#[derive(Debug, Default)]
pub struct KeyFile {
    /// Its keys, in its order, each once.
    pub keys: Vec<(Fingerprint, Secret)>,
    /// Lines that are no keys, counted from 1, with what is wrong; the first 20. Never their content.
    pub invalid: Vec<(u64, InvalidSecret)>,
    /// How many such lines there are.
    pub invalid_lines: u64,
    /// Lines that hold a key again.
    pub repeated: u64,
    /// The last line has no end: there may be more of it to come.
    pub is_open: bool,
}

/// Why a file says nothing. What it said before stays.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// There is none of this name.
    #[error("there is no such file")]
    Missing,
    /// It is a folder or a device.
    #[error("it is no file")]
    NoFile,
    /// It is larger than a key file can be.
    #[error("it is larger than 256 MiB")]
    TooLarge,
    /// The system does not let it be read.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::IsADirectory => Self::NoFile,
            _ => Self::Io(error),
        }
    }
}

/// Opens a file that is one, and not larger than `most` bytes.
pub(super) fn open(path: &Path, most: u64) -> Result<File, Unreadable> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let before = std::fs::metadata(path)?;
    if !before.is_file() {
        return Err(Unreadable::NoFile);
    }
    let file = File::open(path)?;
    if file.metadata()?.len() > most {
        return Err(Unreadable::TooLarge);
    }
    Ok(file)
}

/// Reads a key file.
///
/// # Errors
/// Where it cannot be read. Lines that are no keys are no error.
pub fn read(path: &Path) -> Result<KeyFile, Unreadable> {
    let file = open(path, MAX_BYTES)?;
    // It may grow while it is read.
    parse(BufReader::new(file.take(MAX_BYTES))).map_err(Unreadable::from)
}

/// What the text of a key file says.
///
/// # Errors
/// Where it cannot be read.
#[doc(hidden)]
pub fn parse(mut text: impl BufRead) -> io::Result<KeyFile> {
    let mut file = KeyFile::default();
    let mut seen = HashSet::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let Some(has_end) = read_line(&mut text, &mut line)? else { break };
        let unmarked = match line.strip_prefix(MARK) {
            Some(rest) if number == 1 => rest,
            _ => &line,
        };
        let trimmed = unmarked.trim_ascii();
        if trimmed.is_empty() {
            continue;
        }
        file.is_open = !has_end;
        match std::str::from_utf8(trimmed).map_err(|_| InvalidSecret::NotVisibleAscii).and_then(Secret::parse) {
            Ok(secret) => {
                let fingerprint = secret.fingerprint();
                match seen.insert(fingerprint) {
                    true => file.keys.push((fingerprint, secret)),
                    false => file.repeated += 1,
                }
            }
            Err(reason) => {
                file.invalid_lines += 1;
                if file.invalid.len() < TOLD {
                    file.invalid.push((number, reason));
                }
            }
        }
    }
    Ok(file)
}

/// Reads the next line into `line`, without its end; of a long one no more than shows that it is no key. Answers
/// whether it has an end; None = there is no line.
fn read_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let mut some = false;
    loop {
        let piece = match text.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if piece.is_empty() {
            return Ok(some.then_some(false));
        }
        some = true;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let content = &piece[..end.unwrap_or(piece.len())];
        // Room for a byte order mark, and for one byte more than the longest key has.
        let rest = grow(line, content, MARK.len() + MAX_LEN + 1);
        if !rest.trim_ascii().is_empty() && line.last().is_some_and(u8::is_ascii_whitespace) {
            // What does not fit is no space, so the spaces before it are inside of the line.
            line.push(b'x');
        }
        let used = end.map_or(piece.len(), |end| end + 1);
        text.consume(used);
        if end.is_some() {
            return Ok(Some(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: impl AsRef<[u8]>) -> (Vec<String>, Vec<u64>, u64) {
        // A small buffer, so that lines come in pieces.
        let file = parse(BufReader::with_capacity(7, text.as_ref())).expect("read");
        let secrets = file.keys.iter().map(|(_, secret)| secret.expose().to_owned()).collect();
        (secrets, file.invalid.iter().map(|(line, _)| *line).collect(), file.repeated)
    }

    #[test]
    fn a_file_is_read_as_people_leave_it() {
        let keys = |keys: &[&str]| (keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), vec![], 0);
        assert_eq!(parsed("a-1\nb-2\n"), keys(&["a-1", "b-2"]));
        assert_eq!(parsed("a-1\r\nb-2"), keys(&["a-1", "b-2"]));
        assert_eq!(parsed("\u{feff}a-1\n\n  \n\t b-2 \t\n\n"), keys(&["a-1", "b-2"]));
        assert_eq!(parsed(format!("\u{feff}{}a-1\n", " ".repeat(9_000))), keys(&["a-1"]));
        assert_eq!(parsed(""), keys(&[]));
        assert_eq!(parsed("\n\n"), keys(&[]));
        assert_eq!(parsed("a\nb\na\n a \n").2, 2);
    }

    #[test]
    fn lines_that_are_no_keys_are_told_by_number() {
        let (secrets, invalid, _) = parsed("a-1\ntwo words\n\u{feff}b\nschlüssel\n\nc-3\n");
        assert_eq!((secrets, invalid), (vec!["a-1".to_owned(), "c-3".to_owned()], vec![2, 3, 4]));
        let long = "x".repeat(10_000_000);
        let padded = format!("{}k{}\n", " ".repeat(9_000), " ".repeat(9_000));
        let (secrets, invalid, _) = parsed(format!("a\n{long}\nb\n{padded}"));
        assert_eq!((secrets.len(), invalid), (3, vec![2]));
        let inside = format!("{}{}y\nb\n", "x".repeat(MAX_LEN), " ".repeat(100));
        assert_eq!(parsed(inside), (vec!["b".to_owned()], vec![1], 0));
        let (secrets, invalid, _) = parsed([0u8, 159, 146, 150, b'\n', 255, b'\n', b'k', b'\n']);
        assert_eq!((secrets, invalid), (vec!["k".to_owned()], vec![1, 2]));
    }

    #[test]
    fn a_last_line_without_an_end_is_told_apart() {
        let is_open = |text: &str| parse(text.as_bytes()).expect("read").is_open;
        assert_eq!(["a", "a\nb", "a\n b"].map(is_open), [true; 3]);
        assert_eq!(["a\n", "a\r\n\n", "a\n  ", "", "b\n\t"].map(is_open), [false; 5]);
    }

    #[test]
    fn what_is_no_file_is_told() {
        let folder = tempfile::tempdir().expect("made");
        assert!(matches!(read(folder.path()), Err(Unreadable::NoFile)));
        assert!(matches!(read(&folder.path().join("none.txt")), Err(Unreadable::Missing)));
    }
}
