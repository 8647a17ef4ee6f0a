//! Import: keys from text, one per line, with a verdict for each line that was not added.

use super::{Pool, PoolError};
use crate::domain::secret::{InvalidSecret, MAX_LEN};
use crate::domain::{NewKey, Secret};
use crate::store::Added;

/// How many verdicts an answer lists.
pub const LISTED: usize = 1000;

/// How many keys go to the store in one step.
const BATCH: usize = 1000;

/// The byte order mark that some editors put before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a line was not added. Its content is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pool has the key already, or an earlier line did.
    Known,
    /// The line is no key.
    Invalid(InvalidSecret),
}

impl Verdict {
    /// The shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Invalid(_) => "invalid",
        }
    }
}

/// What became of the lines so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Keys that are new.
    pub added: u64,
    /// Keys that the pool had already.
    pub known: u64,
    /// Lines that are no keys.
    pub invalid: u64,
    /// The lines not added, counted from 1; the first [`LISTED`].
    pub lines: Vec<(u64, Verdict)>,
}

/// Reads text piece by piece, in bounded memory, and adds the keys in it. Lines end with LF or CRLF, the last one
/// with nothing if it likes; spaces around a key, blank lines and a byte order mark are passed over.
pub struct Import<'a> {
    pool: &'a Pool,
    summary: Summary,
    batch: Vec<(u64, NewKey)>,
    /// The line so far, without the spaces before it and never much longer than the longest secret.
    line: Vec<u8>,
    /// There was more to the line than fits.
    overflow: bool,
    number: u64,
}

impl<'a> Import<'a> {
    /// An import into `pool`.
    pub fn new(pool: &'a Pool) -> Self {
        Self { pool, summary: Summary::default(), batch: Vec::new(), line: Vec::new(), overflow: false, number: 1 }
    }

    /// Takes the next piece of the text.
    ///
    /// # Errors
    /// Where the store does not answer. What was added before stays; the same text can be sent again.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), PoolError> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.grow(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
            if self.batch.len() >= BATCH {
                self.flush().await?;
            }
        }
        self.grow(rest);
        Ok(())
    }

    /// Takes one key that is a line of its own, exactly as it is.
    ///
    /// # Errors
    /// As [`Import::push`].
    pub async fn push_line(&mut self, line: &str) -> Result<(), PoolError> {
        self.judge(Secret::parse(line));
        if self.batch.len() >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    /// Ends the text and tells what became of it.
    ///
    /// # Errors
    /// As [`Import::push`].
    pub async fn finish(mut self) -> Result<Summary, PoolError> {
        self.end_line();
        self.flush().await?;
        self.summary.lines.sort_by_key(|(line, _)| *line);
        Ok(self.summary)
    }

    fn grow(&mut self, piece: &[u8]) {
        let piece = if self.line.is_empty() { piece.trim_ascii_start() } else { piece };
        // Room for a byte order mark, and for one character more than a secret has.
        let room = (MAX_LEN + MARK.len() + 1).saturating_sub(self.line.len());
        let (fits, rest) = piece.split_at(piece.len().min(room));
        self.line.extend_from_slice(fits);
        self.overflow |= !rest.trim_ascii().is_empty();
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let overflow = std::mem::take(&mut self.overflow);
        let line = match line.strip_prefix(MARK) {
            Some(unmarked) if self.number == 1 => unmarked,
            _ => &line,
        };
        let line = line.trim_ascii();
        if overflow {
            self.judge(Err(InvalidSecret::TooLong));
        } else if line.is_empty() {
            self.number += 1;
        } else {
            self.judge(std::str::from_utf8(line).map_err(|_| InvalidSecret::NotVisibleAscii).and_then(Secret::parse));
        }
    }

    fn judge(&mut self, secret: Result<Secret, InvalidSecret>) {
        match secret {
            Ok(secret) => self.batch.push((self.number, NewKey::fresh(secret))),
            Err(reason) => {
                self.summary.invalid += 1;
                self.tell(self.number, Verdict::Invalid(reason));
            }
        }
        self.number += 1;
    }

    async fn flush(&mut self) -> Result<(), PoolError> {
        let (numbers, keys): (Vec<u64>, Vec<NewKey>) = std::mem::take(&mut self.batch).into_iter().unzip();
        if keys.is_empty() {
            return Ok(());
        }
        for (number, added) in numbers.into_iter().zip(self.pool.add(&keys).await?.verdicts) {
            match added {
                Added::New(_) => self.summary.added += 1,
                Added::Known => {
                    self.summary.known += 1;
                    self.tell(number, Verdict::Known);
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, number: u64, verdict: Verdict) {
        if self.summary.lines.len() < LISTED {
            self.summary.lines.push((number, verdict));
        }
    }
}
