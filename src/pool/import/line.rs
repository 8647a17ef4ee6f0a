//! A line of an import: how it is read, and why it was not added.

use std::fmt;

use crate::domain::secret::{InvalidSecret, MAX_LEN};
use crate::domain::{NewKey, PoolName, Secret};

/// The byte order mark that some editors put before a text.
pub(crate) const MARK: &[u8] = b"\xef\xbb\xbf";

/// Adds a piece to a line of which no more than `most` bytes are kept, and answers what does not fit. Spaces before a key
/// take no room, nor do those between a byte order mark and a key.
pub(crate) fn grow<'a>(line: &mut Vec<u8>, piece: &'a [u8], most: usize) -> &'a [u8] {
    let mut rest = piece;
    loop {
        if line.is_empty() || line == MARK {
            rest = rest.trim_ascii_start();
        }
        // A mark comes alone first, as long as this may be one.
        let room = if line.len() < MARK.len() { MARK.len() } else { most }.saturating_sub(line.len());
        let (fits, more) = rest.split_at(rest.len().min(room));
        if fits.is_empty() {
            return rest;
        }
        line.extend_from_slice(fits);
        rest = more;
    }
}

/// What a line of an import says.
pub enum Line {
    /// A key to add.
    Key(Box<NewKey>),
    /// Nothing that is to be added, such as the last line of an export.
    Nothing,
    /// No key.
    Invalid(InvalidLine),
}

/// Why a line is no key. Its content is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidLine {
    /// Its text is no secret.
    Secret(InvalidSecret),
    /// It is longer than any key that is exported.
    TooLong,
    /// It is none of an export's lines; the words say what it should be.
    NotExported(&'static str),
    /// It was exported from another pool.
    OtherPool,
    /// Its provider does not take the key.
    Rejected,
    /// Its provider gives no more on the key.
    Exhausted,
}

impl fmt::Display for InvalidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(reason) => write!(f, "{reason}"),
            Self::TooLong => f.write_str("is longer than an exported key can be"),
            Self::NotExported(expected) => f.write_str(expected),
            Self::OtherPool => f.write_str("was exported from another pool"),
            Self::Rejected => f.write_str("is a key that its provider rejects: it was not added"),
            Self::Exhausted => f.write_str("is a key on which its provider gives no more: it was not added"),
        }
    }
}

/// Why a line was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// The pool has the key already, or an earlier line did.
    Known,
    /// The line is no key.
    Invalid(InvalidLine),
}

impl NotAdded {
    /// The shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Invalid(_) => "invalid",
        }
    }
}

/// How a line is read.
#[derive(Clone, Copy)]
pub struct Format {
    /// What the line says, without the spaces around it.
    pub read: fn(&[u8], &PoolName) -> Line,
    /// The longest line, in bytes.
    pub longest: usize,
    /// What a longer one is.
    pub too_long: InvalidLine,
}

/// One secret a line.
pub const SECRETS: Format =
    Format { read: read_secret, longest: MAX_LEN, too_long: InvalidLine::Secret(InvalidSecret::TooLong) };

fn read_secret(line: &[u8], _: &PoolName) -> Line {
    let secret = std::str::from_utf8(line).map_err(|_| InvalidSecret::NotVisibleAscii).and_then(Secret::parse);
    match secret {
        Ok(secret) => Line::Key(Box::new(NewKey::fresh(secret))),
        Err(reason) => Line::Invalid(InvalidLine::Secret(reason)),
    }
}
