//! Import: keys from text, one per line, with a verdict for each line that was not added.

mod line;
mod verified;

use std::collections::HashSet;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio_util::task::AbortOnDropHandle;

pub use line::{Format, InvalidLine, Line, NotAdded, SECRETS};
pub(crate) use line::{MARK, grow};

use super::{Pool, PoolError};
use crate::domain::{KeyId, NewKey, Picks, Verify};
use crate::provider::Unsaid;
use crate::store::{Added, AddedKeys, StoreError};

/// How many verdicts an answer lists.
pub const LISTED: usize = 1000;

/// How many keys go to the store in one step.
const BATCH: usize = 1000;

/// How many steps are under way at once, where their order does not matter.
const AT_ONCE: usize = 4;

/// What became of the lines so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Keys that are new.
    pub added: u64,
    /// Keys that the pool had already.
    pub known: u64,
    /// Lines that are no keys.
    pub invalid: u64,
    /// The lines not added, counted from 1; the first [`LISTED`].
    pub lines: Vec<(u64, NotAdded)>,
    /// The lines that are no keys, counted from 1; the first [`LISTED`].
    pub invalid_lines: Vec<(u64, InvalidLine)>,
    /// False where another program could have added one of the keys at the same moment: nothing in the store keeps
    /// them unique.
    pub race_proof: bool,
    /// Keys that were added although nothing is known of them, where they were to be verified, and why that is; None =
    /// there are none.
    pub unverified: Option<(u64, Unsaid)>,
    /// Requests for keys that these answered.
    pub closed: u64,
}

/// Reads text piece by piece, in bounded memory, and adds the keys in it. Lines end with LF or CRLF, the last one
/// with nothing if it likes; spaces around a key, blank lines and a byte order mark are passed over.
pub struct Import<'a> {
    pool: &'a Pool,
    format: Format,
    summary: Summary,
    batch: Vec<(u64, NewKey)>,
    /// The line so far, without the spaces before it and never much longer than the longest one.
    line: Vec<u8>,
    /// There was more to the line than fits.
    overflow: bool,
    number: u64,
    /// Steps under way, in the order of their lines.
    adding: FuturesOrdered<Adding>,
    /// Lines whose key the pool had, in their order; the first [`LISTED`].
    known: Vec<u64>,
    /// What was seen so far, where nothing is added; None where it is.
    seen: Option<SeenKeys>,
    /// How the provider is asked about each key first; None = it is not.
    verify: Option<&'a Verify>,
    /// The log knows how it ended.
    told: bool,
}

/// The keys that an import would have added.
#[derive(Default)]
struct SeenKeys {
    secrets: HashSet<[u8; 16]>,
    ids: HashSet<KeyId>,
}

impl SeenKeys {
    /// Takes one more; False = an earlier one has its secret or its id.
    fn take(&mut self, key: &NewKey) -> bool {
        let secret = key.secret.fingerprint();
        let is_new = !self.secrets.contains(&secret) && key.id.is_none_or(|id| !self.ids.contains(&id));
        if is_new {
            self.secrets.insert(secret);
            self.ids.extend(key.id);
        }
        is_new
    }
}

impl Drop for Import<'_> {
    /// An import that ended early has added keys all the same.
    fn drop(&mut self) {
        if !self.told && self.summary.added > 0 {
            self.log("the import ended early; keys before that place were added");
        }
    }
}

/// A step under way: the numbers of its lines, and what becomes of their keys. Stopped when the import is.
type Adding = AbortOnDropHandle<(Vec<u64>, Result<AddedKeys, PoolError>)>;

impl<'a> Import<'a> {
    /// An import of lines of this format into `pool`.
    pub fn new(pool: &'a Pool, format: Format) -> Self {
        let summary = Summary {
            added: 0,
            known: 0,
            invalid: 0,
            lines: Vec::new(),
            invalid_lines: Vec::new(),
            race_proof: true,
            unverified: None,
            closed: 0,
        };
        Self {
            pool,
            format,
            summary,
            batch: Vec::new(),
            line: Vec::new(),
            overflow: false,
            number: 1,
            adding: FuturesOrdered::new(),
            known: Vec::new(),
            seen: None,
            verify: None,
            told: false,
        }
    }

    /// The same, but nothing is added: the summary says what would be.
    pub fn dry_run(self) -> Self {
        let mut dry = self;
        (dry.seen, dry.told) = (Some(SeenKeys::default()), true);
        dry
    }

    /// What became of the lines so far.
    pub fn so_far(&self) -> &Summary {
        &self.summary
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

    /// Takes one secret that is a line of its own, exactly as it is.
    ///
    /// # Errors
    /// As [`Import::push`].
    pub async fn push_secret(&mut self, text: &str) -> Result<(), PoolError> {
        self.judge((SECRETS.read)(text.as_bytes(), &self.pool.policy().name));
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
        self.wait_for_all_but(0).await?;
        let mut summary = self.summary.clone();
        let invalid = summary.invalid_lines.iter().map(|(line, reason)| (*line, NotAdded::Invalid(*reason)));
        summary.lines = self.known.iter().map(|line| (*line, NotAdded::Known)).chain(invalid).collect();
        summary.lines.sort_by_key(|(line, _)| *line);
        summary.lines.truncate(LISTED);
        if !self.told {
            self.told = true;
            self.pool.0.line.freed();
            self.log("keys were added");
            // The keys are there, whatever becomes of the requests.
            summary.closed = self.pool.answer_key_requests(summary.added).await.unwrap_or_else(|error| {
                let pool = &self.pool.policy().name;
                tracing::warn!(%pool, error = error.chain(), "requests for keys stay open: keylend keys requests {pool} --close");
                0
            });
        }
        Ok(summary)
    }

    fn log(&self, text: &str) {
        let Summary { added, known, invalid, .. } = self.summary;
        tracing::info!(event = "import_done", pool = %self.pool.policy().name, added, known, invalid, "{text}");
    }

    fn grow(&mut self, piece: &[u8]) {
        // Room for a byte order mark, and for one byte more than the longest line has.
        let rest = grow(&mut self.line, piece, self.format.longest + MARK.len() + 1);
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
        if overflow || line.len() > self.format.longest {
            self.judge(Line::Invalid(self.format.too_long));
        } else if line.is_empty() {
            self.number += 1;
        } else {
            self.judge((self.format.read)(line, &self.pool.policy().name));
        }
    }

    fn judge(&mut self, line: Line) {
        match line {
            Line::Key(key) => self.batch.push((self.number, *key)),
            Line::Nothing => {}
            Line::Invalid(reason) => self.refused(self.number, reason),
        }
        self.number += 1;
    }

    fn refused(&mut self, number: u64, reason: InvalidLine) {
        self.summary.invalid += 1;
        if self.summary.invalid_lines.len() < LISTED {
            self.summary.invalid_lines.push((number, reason));
        }
    }

    async fn flush(&mut self) -> Result<(), PoolError> {
        let (numbers, keys): (Vec<u64>, Vec<NewKey>) = std::mem::take(&mut self.batch).into_iter().unzip();
        if keys.is_empty() {
            return Ok(());
        }
        if let Some(verify) = self.verify {
            return self.add_verified(verify, numbers, keys).await;
        }
        if let Some(seen) = &mut self.seen {
            let known = self.pool.known(&keys).await?;
            let known: Vec<bool> = keys.iter().zip(known).map(|(key, known)| known || !seen.take(key)).collect();
            for (number, known) in numbers.into_iter().zip(known) {
                self.judged(number, known);
            }
            return Ok(());
        }
        let pool = self.pool.clone();
        let adding = async move {
            let added = pool.add(&keys).await;
            (numbers, added)
        };
        self.adding.push_back(AbortOnDropHandle::new(tokio::spawn(adding)));
        // The order of an `in_order` pool is that of the lines; and where nothing keeps a secret unique, steps of the
        // same import must not pass each other by.
        let first = self.summary.added + self.summary.known == 0;
        let in_turn = self.pool.policy().picks == Picks::InOrder || !self.summary.race_proof || first;
        self.wait_for_all_but(if in_turn { 0 } else { AT_ONCE - 1 }).await
    }

    async fn wait_for_all_but(&mut self, under_way: usize) -> Result<(), PoolError> {
        while self.adding.len() > under_way {
            let Some(added) = self.adding.next().await else { break };
            let (numbers, added) =
                added.map_err(|_| PoolError::Store(StoreError::Away("the instance is stopping".into())))?;
            let added = added?;
            self.summary.race_proof &= added.race_proof;
            for (number, verdict) in numbers.into_iter().zip(added.verdicts) {
                self.judged(number, verdict == Added::Known);
            }
        }
        Ok(())
    }

    fn judged(&mut self, number: u64, known: bool) {
        if known {
            self.summary.known += 1;
            if self.known.len() < LISTED {
                self.known.push(number);
            }
        } else {
            self.summary.added += 1;
        }
    }
}
