//! `keylend keys add`

use std::io;

use clap::Args;

use super::{PoolArguments, import};
use crate::cli::act::Acts;
use crate::cli::{Failure, store};
use crate::config::Settings;
use crate::pool::import::{Import, SECRETS};

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys add sk-0123456789abcdef
  pass show stability | keylend keys add -
  keylend keys add --verify -                      only those that the provider takes";

#[derive(Args)]
pub(in crate::cli) struct AddArguments {
    /// Keys, or - for standard input; other users of this machine can see what is given here
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Ask the provider first: what it rejects, or gives no more on, is not added
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    pool: PoolArguments,
}

pub(super) async fn run(settings: &Settings, arguments: AddArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool.pool)?;
    let mut import = Import::new(pool, SECRETS);
    if arguments.verify {
        import = import.verifying()?;
    }
    let begun = Acts::of(settings)?.begin("add", Some(&pool.policy().name), None).await?;
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
