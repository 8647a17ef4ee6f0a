//! `keylend keys generate`

use clap::Args;

use crate::cli::act::{Acts, BY};
use crate::cli::{Failure, output, store};
use crate::config::Settings;
use crate::pool::Generated;
use crate::wire::provider::{AskedReply, GeneratedReply, VerificationReply};

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys generate                    a key for the pool stability
  keylend keys generate plantid --json

It runs the pool's command, [pools.NAME.generate] in keylend.toml; where there is none, a person is asked for a key:
keylend keys requests. It makes no accounts, reads no disposable mail and evades no limits.";

#[derive(Args)]
pub(in crate::cli) struct GenerateArguments {
    /// The pool
    #[arg(default_value = "stability")]
    pool: String,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &Settings, arguments: GenerateArguments) -> Result<(), Failure> {
    let pools = store::prepared(settings).await?;
    let pool = pools.get(&arguments.pool)?;
    let name = &pool.policy().name;
    let begun = Acts::of(settings)?.begin("generate", Some(name), None).await?;
    match pool.generate(BY).await? {
        Generated::Added(added) => {
            begun.done(Some(added.key.value.key.id), "a key was generated");
            let reply = VerificationReply::new(pool.policy(), &added);
            if arguments.json {
                output::print_json(&GeneratedReply::new(pool.policy(), &added))?;
            } else {
                let id = added.key.value.key.id;
                output::print(&format!("added {id} to pool {name}: {}, {}", reply.verdict(), reply.state()))?;
                reply.reason().into_iter().for_each(output::complain);
            }
            // A key that its provider does not take is there, and of no use yet.
            if added.key.value.key.is_active { Ok(()) } else { Err(Failure::NotAll) }
        }
        Generated::Asked { id, open } => {
            begun.done(None, "a key was asked for");
            if arguments.json {
                return output::print_json(&AskedReply::new(pool.policy(), &id, open));
            }
            output::print(&format!("a key for pool {name} was asked for, request {id}; {open} open"))?;
            output::complain(&format!(
                "pool {name} has no command that makes keys: whoever brings one types {}",
                pool.hand_in()
            ));
            Ok(())
        }
    }
}
