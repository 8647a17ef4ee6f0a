//! `keylend keys verify`

use clap::Args;

use super::named::{NamedKeys, Selection};
use crate::cli::act::Acts;
use crate::cli::{Failure, output, store};
use crate::config::Settings;
use crate::domain::KeyId;
use crate::pool::Pool;
use crate::wire::provider::VerificationReply;

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys verify 65a1b2c3d4e5f60718293a4b
  keylend keys verify --all --pool stability       every key, one after the other
  pass show stability | keylend keys verify --secret -";

const HEADINGS: [&str; 5] = ["ID", "KEY", "VERDICT", "CREDITS", "STATE"];

/// How many keys are read at a time.
const PART: u32 = 100;

#[derive(Args)]
pub(in crate::cli) struct VerifyArguments {
    #[command(flatten)]
    keys: NamedKeys,
    /// All keys of the pool
    #[arg(long, conflicts_with_all = ["ids", "secret"])]
    all: bool,
}

pub(super) async fn run(settings: &Settings, arguments: VerifyArguments) -> Result<(), Failure> {
    let acts = Acts::of(settings)?;
    let mut told = Told { acts, json: arguments.keys.pool.json, rows: Vec::new(), unknown: false };
    let verified = if arguments.all {
        let pools = store::prepared(settings).await?;
        all(pools.get(&arguments.keys.pool.pool)?, &mut told).await
    } else {
        let selection = Selection::of(settings, &arguments.keys).await?;
        selection.pool()?.verifies()?;
        selection.each(async |pool, id| told.verify(pool, id).await).await
    };
    // What was verified is shown, also where a later one failed.
    if !told.rows.is_empty() {
        output::print_table(&HEADINGS, told.rows)?;
    }
    verified?;
    if told.unknown { Err(Failure::NotAll) } else { Ok(()) }
}

/// What was said of the keys so far.
struct Told {
    acts: Acts,
    json: bool,
    rows: Vec<Vec<String>>,
    /// Of one at least nothing is known.
    unknown: bool,
}

impl Told {
    async fn verify(&mut self, pool: &Pool, id: KeyId) -> Result<(), Failure> {
        let begun = self.acts.begin("verify", Some(&pool.policy().name), Some(id)).await?;
        let verification = pool.verify(id).await?;
        begun.done(None, "a key was verified");
        let reply = VerificationReply::new(pool.policy(), &verification);
        if let Some(reason) = reply.reason() {
            self.unknown = true;
            output::complain(&format!("{id}: {reason}"));
        }
        if self.json {
            return output::print_json(&reply);
        }
        self.rows.push(reply.row());
        Ok(())
    }
}

async fn all(pool: &Pool, told: &mut Told) -> Result<(), Failure> {
    pool.verifies()?;
    let mut keys = pool.walk(PART);
    while let Some(part) = keys.next().await? {
        for record in part.value.iter().filter(|record| record.key.secret.is_some()) {
            match told.verify(pool, record.key.id).await {
                // It was removed meanwhile.
                Err(Failure::NoSuchKey) => {}
                other => other?,
            }
        }
    }
    Ok(())
}
