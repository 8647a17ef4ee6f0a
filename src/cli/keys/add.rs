//! `keylend keys add`

use std::io::{self, IsTerminal};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::{PoolArguments, import};
use crate::cli::act::Acts;
use crate::cli::{Failure, store};
use crate::config::Settings;
use crate::pool::import::{Import, SECRETS};

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys add                                 asks for them, and does not show what is typed
  pass show stability | keylend keys add
  keylend keys add --verify < keys.txt             only those that the provider takes";

/// What a person is asked at a terminal.
const PROMPT: &str = "Key (not shown; an empty line ends): ";

#[derive(Args)]
pub(in crate::cli) struct AddArguments {
    /// Keys; other users of this machine can see what is given here, so leave them out to be asked for them, or to have
    /// them read from standard input, one a line (which - says as well)
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Ask the provider first: what it rejects, or gives no more on, is not added
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    pool: PoolArguments,
}

/// Reads standard input to its end, or asks for keys where that is a terminal.
async fn read_or_ask(import: &mut Import<'_>) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return import::read_into(import, io::stdin().lock(), &|_| {}).await;
    }
    loop {
        // Wiped when it is dropped, as every secret is.
        let typed = SecretString::from(rpassword::prompt_password(PROMPT)?);
        match typed.expose_secret().trim() {
            "" => return Ok(()),
            key => import.push_secret(key).await?,
        }
    }
}

pub(super) async fn run(settings: &Settings, arguments: AddArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let mut import = Import::new(pool, SECRETS);
    if arguments.verify {
        import = import.verifying()?;
    }
    let begun = Acts::of(settings)?.begin("add", Some(&pool.policy().name), None).await?;
    if arguments.keys.is_empty() {
        read_or_ask(&mut import).await?;
    }
    for key in &arguments.keys {
        if key == "-" {
            import::read_into(&mut import, io::stdin().lock(), &|_| {}).await?;
        } else {
            import.push_secret(key).await?;
        }
    }
    let summary = import.finish().await?;
    begun.done(None, "keys were added");
    import::tell(summary, false, arguments.pool.json)
}
