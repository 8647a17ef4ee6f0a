//! `keylend keys import`

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::PoolArguments;
use crate::cli::act::Acts;
use crate::cli::{Failure, output, store};
use crate::config::Settings;
use crate::pool::import::{Format, Import, LISTED, SECRETS, Summary};
use crate::wire::export::EXPORTED;
use crate::wire::keys::AddedReply;

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys import keys.txt
  keylend keys import --dry-run keys.txt           what would become of them
  keylend keys import --pool plantid - < plantid.txt
  keylend keys import stability.ndjson             as keys export wrote it";

/// How many bytes of a file are read at a time.
const PIECE: usize = 64 * 1024;

#[derive(Args)]
pub(in crate::cli) struct ImportArguments {
    /// The file, or - for standard input
    file: PathBuf,
    /// Add nothing: say what would become of the lines
    #[arg(long)]
    dry_run: bool,
    /// Ask the provider first: what it rejects, or gives no more on, is not added
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    #[command(flatten)]
    pool: PoolArguments,
}

pub(super) async fn run(settings: &Settings, arguments: ImportArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let (mut from, length) = open(&arguments.file)?;
    let format = format_of(from.fill_buf()?);
    let mut import = Import::new(pool, format);
    if arguments.dry_run {
        import = import.dry_run();
    }
    if arguments.verify {
        import = import.verifying()?;
    }
    let begun = match arguments.dry_run {
        true => None,
        false => Some(Acts::of(settings)?.begin("add", Some(&pool.policy().name), None).await?),
    };
    let bar = progress(length, arguments.pool.json);
    let read = read_into(&mut import, from, &|bytes| bar.inc(bytes as u64)).await;
    let summary = match read {
        Ok(()) => import.finish().await.map_err(Failure::from),
        Err(error) => Err(error),
    };
    bar.finish_and_clear();
    let summary = summary?;
    if let Some(begun) = begun {
        begun.done(None, "keys were added");
    }
    tell(summary, arguments.dry_run, arguments.pool.json)
}

/// The file or standard input, and its length where it is known.
fn open(file: &PathBuf) -> Result<(Box<dyn BufRead>, Option<u64>), Failure> {
    if file.as_os_str() == "-" {
        return Ok((Box::new(BufReader::with_capacity(PIECE, io::stdin())), None));
    }
    let opened = File::open(file).map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
    let length = opened.metadata().ok().filter(|file| file.is_file()).map(|file| file.len());
    Ok((Box::new(BufReader::with_capacity(PIECE, opened)), length))
}

/// An export begins with the brace of its first line's object; anything else is one secret a line.
fn format_of(beginning: &[u8]) -> Format {
    let beginning = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
    if beginning.trim_ascii_start().starts_with(b"{\"") { EXPORTED } else { SECRETS }
}

/// A bar on stderr, where a person sees it.
fn progress(length: Option<u64>, json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Reads to the end; `each` is told how many bytes came.
pub(super) async fn read_into(
    import: &mut Import<'_>,
    mut from: impl Read,
    each: &dyn Fn(usize),
) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                import.push(&piece[..length]).await?;
                each(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Says what became of the keys; invalid lines by number and reason, never by content.
pub(super) fn tell(summary: Summary, dry_run: bool, json: bool) -> Result<(), Failure> {
    let (added, known, invalid) = (summary.added, summary.known, summary.invalid);
    if json {
        output::print_json(&AddedReply::from(summary))?;
    } else {
        for (line, reason) in &summary.invalid_lines {
            output::complain(&format!("line {line} {reason}"));
        }
        if invalid > LISTED as u64 {
            output::complain(&format!("and {} more", invalid - LISTED as u64));
        }
        if !summary.race_proof {
            output::complain(AddedReply::NOT_RACE_PROOF);
        }
        if let Some((unverified, why)) = &summary.unverified {
            output::complain(&format!("{unverified} added without the provider's word: {why}"));
        }
        let verb = if dry_run { "would be added" } else { "added" };
        let closed = match summary.closed {
            0 => String::new(),
            1 => ", 1 request closed".to_owned(),
            closed => format!(", {closed} requests closed"),
        };
        output::print(&format!("{added} {verb}, {known} known, {invalid} invalid{closed}"))?;
    }
    if invalid > 0 { Err(Failure::NotAll) } else { Ok(()) }
}
