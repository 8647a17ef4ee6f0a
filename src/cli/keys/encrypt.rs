//! `keylend keys encrypt`, `decrypt` and `rotate`: how the secrets of a pool are kept, key after key, beside running servers.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::PoolArguments;
use crate::cli::act::Acts;
use crate::cli::{Failure, output, store};
use crate::config::{Fault, Settings, StoreSettings};
use crate::domain::{KeyId, KeyRecord, Policy};
use crate::pool::{Pool, PoolError};
use crate::store::sqlite;
use crate::store::vault::Vault;
use crate::store::{Keeping, KeptAnew, StoreError};

pub(super) const ENCRYPT_EXAMPLES: &str = "Examples:
  keylend keys encrypt                             once encrypt = true is set for the pool
  keylend keys encrypt --pool translate --json

It can be stopped, and goes on when it is typed again.";

pub(super) const DECRYPT_EXAMPLES: &str = "Examples:
  keylend keys decrypt                             once encrypt = true is gone from the pool";

pub(super) const ROTATE_EXAMPLES: &str = "Examples:
  keylend keys rotate                              once a new key stands first in KEYLEND_ENCRYPTION_KEYS

The new key must be known to all instances before one of them encrypts with it: set it as the second one first.";

/// How many keys are read at a time, and how many are written at once.
const PART: u32 = 500;
const AT_ONCE: usize = 64;

#[derive(Args)]
pub(in crate::cli) struct EncryptArguments {
    #[command(flatten)]
    pool: PoolArguments,
}

/// What became of the keys.
#[derive(Default, Serialize)]
struct Summary {
    /// Kept as it was wanted now.
    changed: u64,
    /// Kept so before.
    as_it_was: u64,
    /// The keys for which it could not be done, and why.
    failed: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    id: String,
    reason: String,
}

pub(super) async fn encrypt(settings: &Settings, arguments: EncryptArguments) -> Result<(), Failure> {
    let all = Over { act: "encrypt", keeping: Keeping::Encrypted, concerns: |_, record| record.sealed_by.is_none() };
    all.run(settings, &arguments.pool, |policy| {
        (!policy.encrypt).then(|| {
            "set encrypt = true for it in keylend.toml and start the servers with that first: what they add meanwhile \
             would not be encrypted"
                .to_owned()
        })
    })
    .await
}

pub(super) async fn decrypt(settings: &Settings, arguments: EncryptArguments) -> Result<(), Failure> {
    let all = Over { act: "decrypt", keeping: Keeping::Plain, concerns: |_, record| record.sealed_by.is_some() };
    all.run(settings, &arguments.pool, |policy| {
        policy.encrypt.then(|| {
            "take encrypt = true away from it in keylend.toml and start the servers with that first: what they add \
             meanwhile would be encrypted"
                .to_owned()
        })
    })
    .await
}

pub(super) async fn rotate(settings: &Settings, arguments: EncryptArguments) -> Result<(), Failure> {
    let concerns = |vault: &Vault, record: &KeyRecord| {
        record.sealed_by.is_some() && record.sealed_by.as_deref() != vault.names().next()
    };
    let all = Over { act: "rotate", keeping: Keeping::Encrypted, concerns };
    all.run(settings, &arguments.pool, |_| None).await
}

/// What is done to all keys of a pool.
struct Over {
    act: &'static str,
    keeping: Keeping,
    /// Whether a key is to be kept anew.
    concerns: fn(&Vault, &KeyRecord) -> bool,
}

impl Over {
    /// `refuse` says why this pool is not to be gone over, where it is not.
    async fn run(
        self,
        settings: &Settings,
        arguments: &PoolArguments,
        refuse: impl Fn(&Policy) -> Option<String>,
    ) -> Result<(), Failure> {
        if !settings.vault.has_keys() {
            let advice = "set it, and KEYLEND_DIGEST_KEY, as the running servers have them";
            return Err(Failure::Usage(vec![Fault::new("KEYLEND_ENCRYPTION_KEYS", advice)]));
        }
        let pools = store::prepared(settings).await?;
        let pool = pools.get(&arguments.pool)?;
        if let Some(advice) = refuse(pool.policy()) {
            return Err(Failure::Usage(vec![Fault::new(format!("pool {}", pool.policy().name), advice)]));
        }
        let begun = Acts::of(settings)?.begin(self.act, Some(&pool.policy().name), None).await?;
        let bar = progress(arguments.json);
        let walked = self.walk(&settings.vault, pool, &bar).await;
        bar.finish_and_clear();
        let summary = walked?;
        begun.done(None, "the secrets of a pool are kept anew");
        tell(&summary, arguments.json)?;
        match &settings.store {
            StoreSettings::Sqlite { path } if self.keeping == Keeping::Encrypted => {
                wipe(path, settings.store_timeout).await?;
            }
            StoreSettings::Sqlite { .. } | StoreSettings::MongoDb { .. } => {}
        }
        if summary.failed.is_empty() { Ok(()) } else { Err(Failure::NotAll) }
    }

    async fn walk(&self, vault: &Vault, pool: &Pool, bar: &ProgressBar) -> Result<Summary, PoolError> {
        let mut summary = Summary::default();
        let mut keys = pool.walk(PART);
        while let Some(part) = keys.next().await? {
            let part = part.value;
            // One that cannot be read is tried again: what was in the way may be gone.
            let concerns = |record: &&KeyRecord| record.key.secret.is_none() || (self.concerns)(vault, record);
            let (concerned, others): (Vec<_>, Vec<_>) = part.iter().partition(concerns);
            summary.as_it_was += others.len() as u64;
            let ids = concerned.into_iter().map(|record| record.key.id);
            let keep = |id: KeyId| async move { pool.keep_anew(id, self.keeping).await.map(|kept| (id, kept)) };
            let mut kept = stream::iter(ids.map(keep)).buffered(AT_ONCE);
            while let Some(kept) = kept.next().await {
                let (id, kept) = kept?;
                summary.add(id, kept);
            }
            bar.inc(part.len() as u64);
        }
        Ok(summary)
    }
}

/// Takes away what secrets were before, in the file of the embedded store and beside it.
async fn wipe(file: &Path, patience: Duration) -> Result<(), StoreError> {
    match sqlite::wipe(file, patience).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(StoreError::Away(_)) => {
            output::complain(&format!(
                "{0} and {0}-wal may still hold secrets as they were, for others kept them busy: type this again when there \
                 is less to do",
                file.display()
            ));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

impl Summary {
    fn add(&mut self, id: KeyId, kept: KeptAnew) {
        let reason = match kept {
            KeptAnew::Changed => return self.changed += 1,
            KeptAnew::AsItWas => return self.as_it_was += 1,
            // It was removed meanwhile.
            KeptAnew::UnknownKey => return,
            KeptAnew::Twin => "another key of the pool has the same secret: remove one of them".to_owned(),
            KeptAnew::NotOpened(why) => why.to_string(),
        };
        self.failed.push(Failed { id: id.to_string(), reason });
    }
}

/// How far it is, on stderr, where a person sees it. Of how many is not asked: to count a large pool takes long.
fn progress(json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {human_pos} keys, {per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn tell(summary: &Summary, json: bool) -> Result<(), Failure> {
    if json {
        output::print_json(summary)?;
    } else {
        for Failed { id, reason } in &summary.failed {
            output::complain(&format!("{id}: {reason}"));
        }
        let Summary { changed, as_it_was, failed } = summary;
        output::print(&format!("{changed} changed, {as_it_was} as they were, {} failed", failed.len()))?;
    }
    Ok(())
}
