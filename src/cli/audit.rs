//! `keylend audit`: searches the audit.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, output};
use crate::audit::{Entry, Outcome};
use crate::config::{Fault, Settings};
use crate::domain::Timestamp;

pub(super) const EXAMPLES: &str = "Examples:
  keylend audit                                     the last 100 lines
  keylend audit --key 65a1b2c3d4e5f60718293a4b      who had this key, and what became of it
  keylend audit --by web --act report --since 2026-01-31T00:00:00Z
  zcat audit.log.*.gz | keylend audit --all --json -

A hand-out and a report have one line, done. An admin act has two: begun, then done or failed.";

const HEADINGS: [&str; 9] = ["AT", "BY", "FROM", "REQUEST", "ACT", "POOL", "KEY", "WHAT", "OUTCOME"];

/// The longest line that is read as one of the audit's, in bytes.
const LONGEST: u64 = 64 * 1024;

#[derive(Args)]
pub(super) struct AuditArguments {
    /// Files, oldest first, or - for standard input; else KEYLEND_AUDIT_FILE
    files: Vec<PathBuf>,
    /// Of this pool
    #[arg(long)]
    pool: Option<String>,
    /// Of the key with this id
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// By the token of this name, or "the command line"
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// From this address
    #[arg(long)]
    address: Option<std::net::IpAddr>,
    /// Of the request with this id
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Of this kind: lease, take, find_usable_key, increment_usage, report, renew, add, change, remove, export, ..
    #[arg(long)]
    act: Option<String>,
    /// Only what ended like this: begun, done or failed
    #[arg(long, value_parser = outcome)]
    outcome: Option<Outcome>,
    /// From this instant on, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    since: Option<Timestamp>,
    /// Before this instant
    #[arg(long, value_name = "INSTANT")]
    until: Option<Timestamp>,
    /// How many of the last lines that fit are shown
    #[arg(long, value_name = "NUMBER", default_value_t = 100, conflicts_with = "all")]
    last: usize,
    /// All that fit
    #[arg(long)]
    all: bool,
    /// Print them as they were written, for programs
    #[arg(long)]
    json: bool,
}

fn outcome(word: &str) -> Result<Outcome, &'static str> {
    let outcomes = [Outcome::Begun, Outcome::Done, Outcome::Failed];
    outcomes.into_iter().find(|outcome| outcome.as_str() == word).ok_or("it is begun, done or failed")
}

impl AuditArguments {
    fn fits(&self, entry: &Entry) -> bool {
        let is = |asked: &Option<String>, there: Option<&str>| asked.is_none() || asked.as_deref() == there;
        let at = entry.at.parse::<Timestamp>().ok();
        is(&self.pool, entry.pool.as_deref())
            && is(&self.key, entry.key.as_deref())
            && is(&self.by, entry.by.as_deref())
            && is(&self.request, entry.request.as_deref())
            && is(&self.act, Some(&entry.act))
            && (self.address.is_none() || self.address == entry.address)
            && self.outcome.is_none_or(|outcome| outcome == entry.outcome)
            && self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at.is_some_and(|at| at < until))
    }
}

/// The lines that are shown at the end.
struct Found {
    entries: VecDeque<Entry>,
    /// None = all.
    last: Option<usize>,
    /// Lines that are none of the audit.
    others: u64,
}

pub(super) fn run(settings: &Settings, arguments: &AuditArguments) -> Result<(), Failure> {
    let last = (!arguments.all).then_some(arguments.last);
    let mut found = Found { entries: VecDeque::new(), last, others: 0 };
    let own: Vec<PathBuf> = settings.audit.file.iter().cloned().collect();
    let files = if arguments.files.is_empty() { &own } else { &arguments.files };
    if files.is_empty() {
        let advice = "it is not set, so nothing is written: set it for the server, or name a file";
        return Err(Failure::Usage(vec![Fault::new("KEYLEND_AUDIT_FILE", advice)]));
    }
    for file in files {
        search(file, arguments, &mut found).map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
    }
    if found.others > 0 {
        output::complain(&format!("{} lines are none of an audit", found.others));
    }
    if found.entries.is_empty() {
        return Err(Failure::NotAll);
    }
    if arguments.json {
        return found.entries.iter().try_for_each(output::print_json);
    }
    output::print_table(&HEADINGS, found.entries.into_iter().map(row).collect())
}

fn search(file: &Path, arguments: &AuditArguments, found: &mut Found) -> io::Result<()> {
    let mut from: Box<dyn BufRead> = match file.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(file)?)),
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = io::Read::take(&mut from, LONGEST).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Entry>(&line) {
            Ok(entry) if arguments.fits(&entry) => {
                found.entries.push_back(entry);
                if found.last.is_some_and(|last| found.entries.len() > last) {
                    found.entries.pop_front();
                }
            }
            Ok(_) => {}
            Err(_) => found.others += 1,
        }
    }
}

fn row(entry: Entry) -> Vec<String> {
    let from = match (entry.address, entry.uid) {
        (Some(address), _) => Some(address.to_string()),
        (None, uid) => uid.map(|uid| format!("user {uid}")),
    };
    vec![
        entry.at,
        output::or_dash(entry.by),
        output::or_dash(from),
        output::or_dash(entry.request),
        entry.act,
        output::or_dash(entry.pool),
        output::or_dash(entry.key),
        output::or_dash(entry.what),
        entry.outcome.as_str().to_owned(),
    ]
}
