//! `keylend backup`

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;

use super::act::Acts;
use super::{Failure, output};
use crate::config::{Fault, Settings, StoreSettings};
use crate::store::sqlite::back_up;

pub(super) const EXAMPLES: &str = "Examples:
  keylend backup keylend-$(date +%F).db
  keylend --data keylend-2026-01-31.db stats       what is in a copy

To go back to a copy, stop keylend, remove keylend.db, keylend.db-wal and keylend.db-shm, and
name the copy keylend.db. What was lent and counted since it was made is not in it.";

#[derive(Args)]
pub(super) struct BackupArguments {
    /// A new file, readable for its owner only: it holds the secrets
    file: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct BackupReply {
    file: String,
    bytes: u64,
}

pub(super) async fn run(settings: &Settings, arguments: &BackupArguments) -> Result<(), Failure> {
    let StoreSettings::Sqlite { path } = &settings.store else {
        let advice =
            "the keys are in a MongoDB: `mongodump` copies it, `keylend keys export` writes the keys of a pool";
        return Err(Failure::Usage(vec![Fault::new("MONGODB_URI", advice)]));
    };
    let begun = Acts::of(settings)?.begin("backup", None, None).await?;
    let bytes = back_up(path, &arguments.file, settings.store_timeout).await?;
    let file = arguments.file.display().to_string();
    begun.done(None, "the store was copied");
    match arguments.json {
        true => output::print_json(&BackupReply { file, bytes }),
        false => output::print(&format!("{file}: {}, whole", ByteSize::b(bytes))),
    }
}
