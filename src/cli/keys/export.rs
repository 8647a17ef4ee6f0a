//! `keylend keys export`

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;

use super::flask;
use crate::cli::act::Acts;
use crate::cli::{Failure, output, store};
use crate::config::{Fault, Settings};
use crate::pool::export::{Export, Part};
use crate::wire::export::lines;

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys export stability.ndjson
  keylend keys export --pool plantid - | age -r RECIPIENT > plantid.ndjson.age
  keylend keys export --flask /srv/flask           the older server takes over again";

#[derive(Args)]
pub(in crate::cli) struct ExportArguments {
    /// A new file, readable for its owner only; or - for standard output, which is meant where that is no terminal
    file: Option<PathBuf>,
    /// The pool
    #[arg(long, default_value = "stability")]
    pool: String,
    /// Write plantid.txt, healthid.txt and api_state.json into this folder instead, as the older Flask server has them:
    /// the keys that are neither spent nor disabled. Stop keylend before
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "pool"])]
    flask: Option<PathBuf>,
}

pub(super) async fn run(settings: &Settings, arguments: ExportArguments) -> Result<(), Failure> {
    if let Some(folder) = &arguments.flask {
        return flask::run(settings, folder).await;
    }
    if arguments.file.is_none() && io::stdout().is_terminal() {
        let advice = "name a file, or - for this terminal: the secrets are written out";
        return Err(Failure::Usage(vec![Fault::new("FILE", advice)]));
    }
    let file = arguments.file.filter(|file| file.as_os_str() != "-");
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool)?;
    let begun = Acts::of(settings)?.begin("export", Some(&pool.policy().name), None).await?;
    let mut export = Export::new(pool);
    let name = file.as_ref().map_or_else(|| "standard output".to_owned(), |file| file.display().to_string());
    let failed = |error: io::Error| Failure::Failed(format!("{name}: {error}"));
    let mut to: Box<dyn Write> = match &file {
        None => Box::new(io::stdout()),
        // A file that is there is not written over: it can be the only copy.
        Some(file) => Box::new(OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?),
    };
    let mut begun = Some(begun);
    while let Some(part) = export.next().await? {
        to.write_all(&lines(&pool.policy().name, &part)).map_err(failed)?;
        if let Part::End(ending) = part {
            to.flush().map_err(failed)?;
            if let Some(begun) = begun.take() {
                begun.done(None, "the keys were exported");
            }
            output::complain(&format!("{} exported, {} invalid left out", ending.exported, ending.invalid));
            if ending.invalid > 0 {
                return Err(Failure::NotAll);
            }
        }
    }
    Ok(())
}
