//! `keylend keys add|import|list|find`

use std::io::{self, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Failure, output, store};
use crate::config::Settings;
use crate::domain::{Key, KeyRecord, KeyRef, Policy, Secret, Timestamp};
use crate::pool::import::{Import, SECRETS, Summary, Verdict};
use crate::pool::{Pool, PoolError};
use crate::store::Page;
use crate::wire::keys::{AddedReply, KeyReply};

/// How many keys are read from the store at a time.
const PAGE: u32 = 1000;

/// How many bytes of a file are read at a time.
const PIECE: usize = 64 * 1024;

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Add keys: given here, or one per line on standard input
    #[command(
        after_help = "Examples:\n  keylend keys add sk-0123456789abcdef\n  pass show stability | keylend keys add -"
    )]
    Add(AddArguments),
    /// Add the keys of a file, one per line
    #[command(
        after_help = "Examples:\n  keylend keys import keys.txt\n  keylend keys import --pool plantid - < plantid.txt"
    )]
    Import(ImportArguments),
    /// List keys, masked
    List(ListArguments),
    /// Find the key to use next; stamps it, as a service's call does
    Find(FindArguments),
}

#[derive(Args)]
struct PoolArguments {
    /// The pool
    #[arg(long, default_value = "stability")]
    pool: String,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct AddArguments {
    /// Keys, or - for standard input; other users of this machine can see what is given here
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    pool: PoolArguments,
}

#[derive(Args)]
pub(super) struct ImportArguments {
    /// The file, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    pool: PoolArguments,
}

#[derive(Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    pool: PoolArguments,
}

#[derive(Args)]
pub(super) struct FindArguments {
    #[command(flatten)]
    pool: PoolArguments,
    /// Take keys with at most so many uses counted or out on lease (0 to 10000; else the pool's own limit)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    max_uses: Option<u32>,
    /// Show the key's secret
    #[arg(long)]
    reveal: bool,
    /// Only look: do not stamp it as used
    #[arg(long)]
    peek: bool,
}

pub(super) async fn run(settings: &Settings, command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Add(arguments) => add(settings, arguments).await,
        KeysCommand::Import(arguments) => import(settings, arguments).await,
        KeysCommand::List(arguments) => list(settings, arguments).await,
        KeysCommand::Find(arguments) => find(settings, arguments).await,
    }
}

async fn add(settings: &Settings, arguments: AddArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let mut import = Import::new(pool, SECRETS);
    for key in &arguments.keys {
        if key == "-" {
            read_into(&mut import, io::stdin().lock()).await?;
        } else {
            import.push_secret(key).await?;
        }
    }
    tell(import.finish().await?, arguments.pool.json)
}

async fn import(settings: &Settings, arguments: ImportArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let mut import = Import::new(pool, SECRETS);
    if arguments.file.as_os_str() == "-" {
        read_into(&mut import, io::stdin().lock()).await?;
    } else {
        let file = std::fs::File::open(&arguments.file)
            .map_err(|error| Failure::Failed(format!("{}: {error}", arguments.file.display())))?;
        read_into(&mut import, file).await?;
    }
    tell(import.finish().await?, arguments.pool.json)
}

async fn read_into(import: &mut Import<'_>, mut from: impl Read) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => import.push(&piece[..length]).await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Says what became of the keys; invalid lines by number and reason, never by content.
fn tell(summary: Summary, json: bool) -> Result<(), Failure> {
    let invalid = summary.invalid;
    if json {
        output::print_json(&AddedReply::from(summary))?;
    } else {
        for (line, verdict) in &summary.lines {
            if let Verdict::Invalid(reason) = verdict {
                output::complain(&format!("line {line} {reason}"));
            }
        }
        output::print(&format!("{} added, {} known, {} invalid", summary.added, summary.known, invalid))?;
    }
    if invalid > 0 { Err(Failure::NotAll) } else { Ok(()) }
}

async fn list(settings: &Settings, arguments: ListArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let mut rows = Vec::new();
    let mut after = None;
    let mut found = false;
    loop {
        let page = pool.list(Page { after, limit: PAGE, state: None }).await?;
        let Some(last) = page.value.last() else { break };
        after = Some(last.place());
        found = true;
        for KeyRecord { key, .. } in &page.value {
            if arguments.pool.json {
                output::print_json(&ListedKey::new(pool.policy(), key, page.now))?;
            } else {
                rows.push(row(pool, key, page.now));
            }
        }
    }
    if !arguments.pool.json && found {
        output::print_table(HEADINGS, rows)?;
    }
    if !found {
        output::complain(&format!("pool {} has no keys; add some with: keylend keys add", pool.policy().name));
        return Err(Failure::NotAll);
    }
    Ok(())
}

/// A listed key: as it is looked up, and what is left of it.
#[derive(Serialize)]
struct ListedKey {
    #[serde(flatten)]
    key: KeyReply,
    left: u64,
}

impl ListedKey {
    fn new(policy: &Policy, key: &Key, now: Timestamp) -> Self {
        Self { key: KeyReply::new(policy, key, now), left: key.left(policy.uses_per_key) }
    }
}

const HEADINGS: &[&str] = &["ID", "KEY", "USES", "LEFT", "STATE", "LAST USED"];

fn row(pool: &Pool, key: &Key, now: Timestamp) -> Vec<String> {
    let listed = ListedKey::new(pool.policy(), key, now);
    vec![
        listed.key.id,
        output::or_dash(listed.key.masked),
        serde_json::to_string(&listed.key.usage_count).unwrap_or_else(|_| "-".to_owned()),
        listed.left.to_string(),
        listed.key.state.to_owned(),
        output::or_dash(listed.key.last_used),
    ]
}

async fn find(settings: &Settings, arguments: FindArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let found = if arguments.peek {
        pool.peek_usable_key(arguments.max_uses).await?
    } else {
        match pool.find_usable_key(arguments.max_uses).await {
            Ok(found) => Some(pool.look_up(&KeyRef::Id(found.id)).await?),
            Err(PoolError::NoUsableKey { .. }) => None,
            Err(error) => return Err(error.into()),
        }
    };
    let Some(found) = found else {
        output::complain(&format!("pool {} has no usable key; keylend stats says why", pool.policy().name));
        return Err(Failure::NotAll);
    };
    let revealed = found.value.secret.as_ref().filter(|_| arguments.reveal).map(Secret::expose);
    match (arguments.pool.json, revealed) {
        (true, _) => {
            let key = ListedKey::new(pool.policy(), &found.value, found.now);
            output::print_json(&FoundKey { key, api_key: revealed })
        }
        (false, Some(secret)) => output::print(secret),
        (false, None) => output::print_table(HEADINGS, vec![row(pool, &found.value, found.now)]),
    }
}

/// A found key: as it is listed, and its secret where that is asked for.
#[derive(Serialize)]
struct FoundKey<'a> {
    #[serde(flatten)]
    key: ListedKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}
