//! One look at a key file: what it says against what the pool has.
//!
//! A look can be broken off anywhere and done again: nothing is believed of the store that it did not answer.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::gone::Gone;
use super::read::{Fingerprint, KeyFile, Unreadable, read};
use super::stamp::Stamp;
use super::state::{ApiState, Counter};
use crate::domain::{DisabledReason, KeyId, KeyRef, NewKey, Secret};
use crate::pool::{Pool, PoolError};
use crate::store::Brought;

/// After this long the whole pool is compared with the file, changed or not: others change the pool too.
const COMPARE: Duration = Duration::from_secs(60);

/// At most one part in so many of the time goes into that.
const COMPARING: u32 = 20;

/// How many keys go to the store in one step.
const BATCH: usize = 1000;

/// Whoever writes a line without its end is given so long to write the rest, and so often.
const REST_OF_LINE: (Duration, u32) = (Duration::from_millis(300), 3);

/// A key file, and the pool that its keys go to.
pub struct Followed {
    /// The pool.
    pub pool: Pool,
    /// The file.
    pub path: PathBuf,
    /// The older server's state; None = there is none.
    pub state: Option<PathBuf>,
}

/// What became of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// The pool has what the file says.
    Done,
    /// Another instance has the file just now.
    Busy,
}

/// A file that is looked at again and again, and what was seen of it.
pub(super) struct Looker {
    followed: Followed,
    /// Names this one among all that look at the same pool's file.
    owner: String,
    has_lock: bool,
    /// Another one had the lock at the last look.
    is_busy: bool,
    /// The file as it was at the last look that was done; None = there was none.
    stamp: Option<Stamp>,
    /// The lines that the pool has, as of then.
    lines: HashSet<Fingerprint>,
    gone: Gone,
    /// When the whole pool is compared next.
    compare_at: Instant,
    state_taken_over: bool,
    /// The problems that were told last, and of which file.
    told: Option<(Stamp, Vec<String>)>,
}

/// What the pool has of its file.
struct Compared {
    /// Lines whose keys it has, active or disabled for another reason than a line that went.
    present: HashSet<Fingerprint>,
    /// Active keys of the file without a line.
    absent: Vec<KeyId>,
    /// It had some of a file before.
    any: bool,
}

/// What a look changed.
#[derive(Default)]
struct Changes {
    added: u64,
    /// Lines whose keys an operator took out of the pool.
    kept_away: u64,
    removed: u64,
}

impl Looker {
    pub(super) fn new(followed: Followed) -> Self {
        Self {
            followed,
            owner: format!("{:032x}", rand::random::<u128>()),
            has_lock: false,
            is_busy: false,
            stamp: None,
            lines: HashSet::new(),
            gone: Gone::default(),
            compare_at: Instant::now(),
            state_taken_over: false,
            told: None,
        }
    }

    fn pool(&self) -> &Pool {
        &self.followed.pool
    }

    /// The file.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.followed.path
    }

    /// When the next look is due, whatever happens to the file.
    pub(super) fn due_at(&self) -> Instant {
        self.compare_at
    }

    /// Looks: at once where `woken`, else where the file is another one or a comparison is due.
    ///
    /// # Errors
    /// Where the store does not answer: the next look does what this one did not.
    pub(super) async fn look(&mut self, woken: bool) -> Result<Looked, PoolError> {
        // Who waits for another one asks for the lock alone: to compare all again and again would hold that one up.
        if self.is_busy && !self.renew_lock().await? {
            return Ok(Looked::Busy);
        }
        let looked = self.look_and_change(woken).await;
        self.let_go().await;
        self.is_busy = matches!(looked, Ok(Looked::Busy));
        looked
    }

    async fn look_and_change(&mut self, woken: bool) -> Result<Looked, PoolError> {
        let is_due = self.compare_at <= Instant::now();
        if !woken && !is_due && self.stamp == Some(Stamp::of(self.path())) {
            return Ok(Looked::Done);
        }
        let (read_at, stamp, read) = self.read().await;
        let file = match read {
            Ok(file) if file.keys.is_empty() => {
                let problem = match file.invalid_lines {
                    0 => "there is no line in it".to_owned(),
                    _ => "there is no key in it".to_owned(),
                };
                return Ok(self.nothing_said(stamp, problem));
            }
            Ok(file) => file,
            Err(error) => return Ok(self.nothing_said(stamp, error.to_string())),
        };
        let said: HashSet<Fingerprint> = file.keys.iter().map(|(line, _)| *line).collect();
        self.tell_problems(stamp, problems(&file));
        // The first time, and where something went, the file alone does not tell what is to be done.
        let whole = is_due || self.lines.is_empty() || self.gone.any() || !self.lines.is_subset(&said);
        let compared = if whole { Some(self.compare(&said).await?) } else { None };
        let present = compared.as_ref().map_or(&self.lines, |compared| &compared.present);
        let new: Vec<(Fingerprint, Secret)> =
            file.keys.iter().filter(|(line, _)| !present.contains(line)).cloned().collect();
        let mut withdraw = Vec::new();
        if let Some(compared) = &compared {
            withdraw = self.gone.seen(&compared.absent, read_at);
        }
        let changes = if new.is_empty() && withdraw.is_empty() && self.state_taken_over {
            Changes::default()
        } else {
            let first_ever = compared.as_ref().is_some_and(|compared| !compared.any);
            match self.change(new, withdraw, first_ever).await? {
                Some(changes) => changes,
                None => return Ok(Looked::Busy),
            }
        };
        let is_other = self.stamp != Some(stamp);
        self.stamp = Some(stamp);
        self.lines = said;
        if whole {
            self.compare_at = Instant::now() + COMPARE.max(read_at.elapsed() * COMPARING);
        }
        if let Some(due_at) = self.gone.due_at() {
            self.compare_at = self.compare_at.min(due_at);
        }
        if is_other || changes.added + changes.removed > 0 {
            self.tell_read(&file, &changes);
        }
        Ok(Looked::Done)
    }

    /// Lets others have the file: nothing more is done with it here.
    pub(super) async fn let_go(&mut self) {
        if self.has_lock {
            // Where that fails, it ends by itself.
            let _ = self.followed.pool.unlock_file(&self.owner).await;
            self.has_lock = false;
        }
    }

    /// Reads the file, and tells when, and which file that was.
    async fn read(&self) -> (Instant, Stamp, Result<KeyFile, Unreadable>) {
        let (moment, times) = REST_OF_LINE;
        let mut left = times;
        loop {
            let read_at = Instant::now();
            // Before it is read: what is written meanwhile is then seen as another one by the next look.
            let stamp = Stamp::of(self.path());
            let path = self.followed.path.clone();
            let file = spawn_blocking(move || read(&path)).await;
            let file = file.unwrap_or_else(|error| Err(Unreadable::Io(std::io::Error::other(error))));
            let is_unfinished = file.as_ref().is_ok_and(|file| file.is_open) && !stamp.rests(moment);
            if !is_unfinished || left == 0 {
                return (read_at, stamp, file);
            }
            left -= 1;
            sleep(moment).await;
        }
    }

    /// The file says nothing, and so changes nothing.
    fn nothing_said(&mut self, stamp: Stamp, problem: String) -> Looked {
        self.tell_problems(stamp, vec![problem]);
        self.stamp = Some(stamp);
        self.compare_at = Instant::now() + COMPARE;
        Looked::Done
    }

    /// Goes through the keys of the pool that are the file's.
    async fn compare(&self, said: &HashSet<Fingerprint>) -> Result<Compared, PoolError> {
        let mut compared = Compared { present: HashSet::new(), absent: Vec::new(), any: false };
        let mut keys = self.pool().walk(BATCH as u32);
        while let Some(part) = keys.next().await? {
            for record in part.value.iter().filter(|record| record.from_file) {
                compared.any = true;
                // Without a secret that can be understood there is no line to look for.
                let Some(line) = record.key.secret.as_ref().map(Secret::fingerprint) else { continue };
                if record.disabled_reason != Some(DisabledReason::RemovedFromFile) {
                    compared.present.insert(line);
                }
                if record.key.is_active && !said.contains(&line) {
                    compared.absent.push(record.key.id);
                }
            }
        }
        Ok(compared)
    }

    async fn renew_lock(&mut self) -> Result<bool, PoolError> {
        // Also where the answer is lost it may be ours.
        self.has_lock = true;
        self.has_lock = self.followed.pool.lock_file(&self.owner).await?;
        Ok(self.has_lock)
    }

    /// Brings and withdraws while no other instance does. None = another one does.
    async fn change(
        &mut self,
        new: Vec<(Fingerprint, Secret)>,
        withdraw: Vec<KeyId>,
        first_ever: bool,
    ) -> Result<Option<Changes>, PoolError> {
        if !self.renew_lock().await? {
            return Ok(None);
        }
        let mut changes = Changes::default();
        self.state_taken_over = self.state_taken_over || self.pool().state_taken_over().await?;
        let mut count = if first_ever && !self.state_taken_over { self.read_state().await } else { None };
        // The key that gets the count comes alone: in no store are others there before it has it.
        let (first, others) = new.split_at(usize::from(count.is_some()).min(new.len()));
        for batch in first.chunks(1).chain(others.chunks(BATCH)) {
            if !self.renew_lock().await? {
                return Ok(None);
            }
            let mut keys: Vec<NewKey> = batch.iter().map(|(_, secret)| NewKey::of_file(secret.clone())).collect();
            // The file's first line is the key that the older server had in use.
            let taken_over = count.take();
            if let (Some(count), Some(first)) = (taken_over, keys.first_mut()) {
                first.usage_count = count;
            }
            let brought = self.pool().bring(&keys).await?;
            self.lines.extend(batch.iter().map(|(line, _)| *line));
            changes.added += brought.iter().filter(|brought| matches!(brought, Brought::New(_))).count() as u64;
            changes.kept_away += brought.iter().filter(|brought| **brought == Brought::Removed).count() as u64;
            if let (Some(count), Some(first)) = (taken_over, keys.first()) {
                self.tell_taken_over(&first.secret, count).await?;
            }
            self.record_state_taken_over().await?;
        }
        self.record_state_taken_over().await?;
        for batch in withdraw.chunks(BATCH) {
            if !self.renew_lock().await? {
                return Ok(None);
            }
            changes.removed += self.pool().withdraw(batch).await?;
            self.gone.forget(batch);
        }
        Ok(Some(changes))
    }

    /// The count goes with the first key into the store, in one step; only then it is recorded that it was taken over.
    /// Whoever dies between leaves keys of the file behind, and so no later import is the first.
    async fn record_state_taken_over(&mut self) -> Result<(), PoolError> {
        if !self.state_taken_over {
            self.pool().record_state_taken_over().await?;
            self.state_taken_over = true;
        }
        Ok(())
    }

    /// What the older server's state says of this pool; None where it says nothing.
    async fn read_state(&self) -> Option<u64> {
        let path = self.followed.state.clone()?;
        let (name, uses_per_key) = (self.pool().policy().name.clone(), self.pool().policy().uses_per_key);
        let file = path.display().to_string();
        let warn = |problem: &str| tracing::warn!(pool = %name, path = file, "the state file: {problem}");
        let read = spawn_blocking(move || ApiState::read(&path)).await.ok()?;
        match read.map(|state| state.counter(name.as_str(), uses_per_key)) {
            Ok(Counter::Uses(count)) => Some(count),
            Ok(Counter::Clamped(count)) => {
                warn(&format!("its counter is not from 0 to {uses_per_key}: taken as {count}"));
                Some(count)
            }
            Ok(Counter::NoNumber) => {
                warn("its counter is no number: the first key starts without uses");
                None
            }
            Ok(Counter::Missing) => {
                warn("it has no counter of the pool: the first key starts without uses");
                None
            }
            Err(error) => {
                warn(&format!("{error}: the first key starts without uses"));
                None
            }
        }
    }

    /// Once for each change of the file, not for each look.
    fn tell_problems(&mut self, stamp: Stamp, problems: Vec<String>) {
        let problems = Some((stamp, problems)).filter(|(_, problems)| !problems.is_empty());
        if problems != self.told {
            let (pool, path) = (&self.pool().policy().name, self.path().display());
            for problem in problems.iter().flat_map(|(_, problems)| problems) {
                tracing::warn!(%pool, %path, "the key file: {problem}");
            }
            self.told = problems;
        }
    }

    fn tell_read(&self, file: &KeyFile, changes: &Changes) {
        let known = (file.keys.len() as u64).saturating_sub(changes.added + changes.kept_away);
        tracing::info!(
            event = "key_file_read",
            pool = %self.pool().policy().name,
            path = %self.path().display(),
            added = changes.added,
            known,
            invalid = file.invalid_lines,
            removed = changes.removed,
            "the key file was read"
        );
        if changes.kept_away > 0 {
            let (pool, path, lines) = (&self.pool().policy().name, self.path().display(), changes.kept_away);
            let advice = "are left out, for an operator removed their keys: who adds them by hand has them back";
            tracing::warn!(%pool, %path, "the key file: {lines} of its lines {advice}");
        }
    }

    /// Tells what became of the count: a key that was used before, or that an operator removed, does not get it.
    async fn tell_taken_over(&self, first: &Secret, usage_count: u64) -> Result<(), PoolError> {
        let pool = &self.pool().policy().name;
        let path = self.followed.state.as_ref().map(|path| tracing::field::display(path.display()));
        let has_it = match self.pool().look_up(&KeyRef::Secret(first.clone())).await {
            Ok(key) => key.value.usage_count.whole().is_some_and(|count| count >= usage_count),
            Err(PoolError::UnknownKey) => false,
            Err(error) => return Err(error),
        };
        if has_it {
            let message = "the first key of the file goes on with the older server's uses";
            tracing::info!(event = "state_taken_over", %pool, path, usage_count, "{message}");
        } else {
            let message = "the state file: its counter is not taken, the first key was used before or is removed";
            tracing::warn!(%pool, path, usage_count, "{message}");
        }
        Ok(())
    }
}

/// What a person should see to in a file that was read.
fn problems(file: &KeyFile) -> Vec<String> {
    let mut problems: Vec<String> =
        file.invalid.iter().map(|(line, reason)| format!("line {line} {reason} and is left out")).collect();
    let more = file.invalid_lines - file.invalid.len() as u64;
    if more > 0 {
        problems.push(format!("{more} more of its lines are no keys and are left out"));
    }
    problems
}
