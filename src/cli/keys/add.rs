//! `keylend keys add`

use std::io::{self, IsTerminal};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::{PoolArguments, import};
use crate::cli::act::Acts;
use crate::cli::{Failure, store};
use crate::config::{Fault, Settings};
use crate::pool::import::{Import, SECRETS};

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys add                                 asks for them, and does not show what is typed
  pass show stability | keylend keys add
  keylend keys add --verify < keys.txt             only those that the provider takes";

/// What a person is asked at a terminal.
const PROMPT: &str = "Key (not shown; an empty line ends): ";

#[derive(Args)]
pub(in crate::cli) struct AddArguments {
    /// Read them from standard input, one a line, also from a terminal
    // Not one of these values only, for the complaint would repeat another.
    #[arg(value_name = "-")]
    input: Vec<String>,
    /// Ask the provider first: what it rejects, or gives no more on, is not added
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    pool: PoolArguments,
}

/// Asks a person for keys.
async fn ask(import: &mut Import<'_>) -> Result<(), Failure> {
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
    // What stands on a command line can be seen by others on the machine.
    if arguments.input.iter().any(|given| given != "-") {
        let advice = "keys are not given on the command line, where others can see them: leave them out to be asked for them, \
                      or send them on standard input, one a line";
        return Err(Failure::Usage(vec![Fault::new("KEY", advice)]));
    }
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let mut import = Import::new(pool, SECRETS);
    if arguments.verify {
        import = import.verifying()?;
    }
    let begun = Acts::of(settings)?.begin("add", Some(&pool.policy().name), None).await?;
    match arguments.input.is_empty() && io::stdin().is_terminal() {
        true => ask(&mut import).await?,
        false => import::read_into(&mut import, io::stdin().lock(), &|_| {}).await?,
    }
    let summary = import.finish().await?;
    begun.done(None, "keys were added");
    import::tell(summary, false, arguments.pool.json)
}
