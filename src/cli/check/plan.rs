//! The plan: what was found, what wants the operator, and the commands to type next.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::config::Settings;
use crate::domain::{Policy, PoolStats, State};
use crate::key_files;
use crate::store::{DatabaseFound, Examination, InvalidKey};

/// What `keylend check` found.
#[derive(Serialize)]
pub(super) struct Plan {
    pub(super) settings: Vec<SettingReport>,
    pub(super) store: StoreReport,
    pub(super) databases: Vec<DatabaseReport>,
    pub(super) pools: Vec<PoolReport>,
    pub(super) key_files: Vec<KeyFileReport>,
    /// What wants the operator, one sentence each.
    pub(super) findings: Vec<String>,
    /// The commands to type next.
    pub(super) next: Vec<String>,
    /// What to say of keys in another database.
    #[serde(skip)]
    pub(super) elsewhere: Option<(String, String)>,
}

#[derive(Serialize)]
pub(super) struct SettingReport {
    pub(super) setting: &'static str,
    pub(super) value: String,
    pub(super) origin: String,
}

#[derive(Serialize)]
pub(super) struct StoreReport {
    /// What and where it is.
    pub(super) name: String,
    /// Whether there is anything yet.
    pub(super) exists: bool,
    /// Why it could not be asked; null where it could.
    pub(super) error: Option<String>,
}

#[derive(Serialize)]
pub(super) struct DatabaseReport {
    pub(super) name: String,
    pub(super) in_use: bool,
    pub(super) collections: BTreeMap<String, u64>,
}

#[derive(Serialize)]
pub(super) struct PoolReport {
    pub(super) name: String,
    pub(super) collection: String,
    pub(super) exists: bool,
    pub(super) documents: u64,
    /// Documents by state.
    pub(super) keys: BTreeMap<&'static str, u64>,
    pub(super) with_credits: u64,
    pub(super) needs_migration: u64,
    pub(super) duplicates: u64,
    pub(super) duplicate_ids: Vec<Vec<String>>,
    /// What is wrong with the keys for secrets.
    pub(super) wrong_keys: Vec<String>,
    /// Whether new keys are encrypted.
    pub(super) encrypt: bool,
    /// Encrypted keys by the name of the key that they are encrypted with.
    pub(super) encrypted: BTreeMap<String, u64>,
    /// Of these, the ones that the first key did not encrypt.
    #[serde(skip)]
    pub(super) by_others: u64,
    pub(super) invalid: u64,
    pub(super) invalid_keys: Vec<InvalidKeyReport>,
    pub(super) missing_indexes: Vec<String>,
}

/// A key file, as a start of the server would take it over.
#[derive(Serialize)]
pub(super) struct KeyFileReport {
    pub(super) pool: &'static str,
    pub(super) path: String,
    /// Keys in it, each once.
    pub(super) keys: u64,
    /// Lines that are no keys.
    pub(super) invalid: u64,
    /// Why it says nothing; null where it does.
    pub(super) error: Option<String>,
}

#[derive(Serialize)]
pub(super) struct InvalidKeyReport {
    pub(super) id: String,
    pub(super) reasons: Vec<String>,
}

impl StoreReport {
    pub(super) fn found(name: String) -> Self {
        Self { name, exists: true, error: None }
    }

    pub(super) fn missing(name: String) -> Self {
        Self { name, exists: false, error: None }
    }

    pub(super) fn failed(name: String, error: String) -> Self {
        Self { name, exists: true, error: Some(error) }
    }
}

impl KeyFileReport {
    /// Reads it.
    pub(super) fn read(pool: &'static str, path: &Path) -> Self {
        let (keys, invalid, error) = match key_files::read::read(path) {
            Ok(file) => (file.keys.len() as u64, file.invalid_lines, None),
            Err(error) => (0, 0, Some(error.to_string())),
        };
        Self { pool, path: path.display().to_string(), keys, invalid, error }
    }

    /// What wants the operator.
    fn finding(&self) -> Option<String> {
        let path = &self.path;
        match (&self.error, self.keys, self.invalid) {
            (Some(error), ..) => Some(format!("key file {path}: {error}: nothing of it is lent")),
            (None, 0, _) => Some(format!("key file {path}: there is no key in it")),
            (None, _, 0) => None,
            (None, _, invalid) => Some(format!("key file {path}: {invalid} of its lines are no keys and are left out")),
        }
    }
}

impl From<DatabaseFound> for DatabaseReport {
    fn from(found: DatabaseFound) -> Self {
        Self { name: found.name, in_use: found.in_use, collections: found.collections.into_iter().collect() }
    }
}

impl From<InvalidKey> for InvalidKeyReport {
    fn from(key: InvalidKey) -> Self {
        Self { id: key.id, reasons: key.reasons }
    }
}

impl PoolReport {
    /// A pool without a collection or table.
    pub(super) fn missing(policy: &Policy) -> Self {
        Self::new(policy, Examination::default(), BTreeMap::new())
    }

    pub(super) fn found(policy: &Policy, examination: Examination, stats: &PoolStats) -> Self {
        let keys = State::ALL.into_iter().map(|state| (state.as_str(), stats.keys.of(state))).collect();
        Self::new(policy, examination, keys)
    }

    fn new(policy: &Policy, found: Examination, keys: BTreeMap<&'static str, u64>) -> Self {
        Self {
            name: policy.name.to_string(),
            collection: policy.collection.clone(),
            exists: found.exists,
            documents: found.documents,
            keys,
            with_credits: found.with_credits,
            needs_migration: found.needs_migration,
            duplicates: found.duplicates,
            duplicate_ids: found.duplicate_ids,
            wrong_keys: found.wrong_keys,
            encrypt: policy.encrypt,
            encrypted: found.encrypted.into_iter().collect(),
            by_others: 0,
            invalid: found.invalid,
            invalid_keys: found.invalid_keys.into_iter().map(InvalidKeyReport::from).collect(),
            missing_indexes: found.missing_indexes,
        }
    }

    /// How many keys `keys encrypt` encrypts.
    fn to_encrypt(&self) -> u64 {
        let plain = self.documents.saturating_sub(self.invalid).saturating_sub(self.encrypted.values().sum());
        if self.encrypt { plain } else { 0 }
    }

    /// How many keys `keys rotate` encrypts anew.
    fn to_rotate(&self) -> u64 {
        if self.encrypt { self.by_others } else { 0 }
    }

    /// How many keys `keys decrypt` decrypts.
    fn to_decrypt(&self) -> u64 {
        if self.encrypt { 0 } else { self.encrypted.values().sum() }
    }

    /// What wants the operator.
    fn findings(&self) -> Vec<String> {
        let name = &self.name;
        let mut findings = Vec::new();
        if self.needs_migration > 0 {
            findings.push(format!(
                "pool {name}: {} documents hold credits and no usage_count; they are not lent before they are migrated",
                self.needs_migration
            ));
        }
        // What is to be migrated is invalid until then, and told of above.
        let invalid = self.invalid.saturating_sub(self.needs_migration);
        if invalid > 0 {
            findings.push(format!(
                "pool {name}: {invalid} documents cannot be understood as keys and are not lent: see to each of them, \
                 or remove it"
            ));
        }
        if self.to_encrypt() > 0 {
            findings
                .push(format!("pool {name}: {} keys are not encrypted, although encrypt = true", self.to_encrypt()));
        }
        if self.to_decrypt() > 0 {
            findings
                .push(format!("pool {name}: {} keys are encrypted, although encrypt is not true", self.to_decrypt()));
        }
        if self.to_rotate() > 0 {
            findings.push(format!(
                "pool {name}: {} keys are encrypted with another key than the first of KEYLEND_ENCRYPTION_KEYS",
                self.to_rotate()
            ));
        }
        if self.duplicates > 0 {
            findings.push(format!(
                "pool {name}: {} secrets are in more than one document, so that a key gives more uses than it may: \
                 remove all but one of each",
                self.duplicates
            ));
        }
        findings
    }
}

impl Plan {
    /// A plan of which only the settings are known yet.
    pub(super) fn new(settings: &Settings) -> Self {
        let settings = settings.told.iter().map(|told| SettingReport {
            setting: told.setting,
            value: told.value.clone(),
            origin: told.origin.to_string(),
        });
        Self {
            settings: settings.collect(),
            store: StoreReport::missing(String::new()),
            databases: Vec::new(),
            pools: Vec::new(),
            key_files: Vec::new(),
            findings: Vec::new(),
            next: Vec::new(),
            elsewhere: None,
        }
    }

    /// Draws the conclusions. `has_file` tells whether there is a file of keys for a pool of this name.
    pub(super) fn conclude(&mut self, has_file: impl Fn(&str) -> bool) {
        self.findings.extend(self.key_files.iter().filter_map(KeyFileReport::finding));
        if let Some(error) = &self.store.error {
            self.findings.push(format!("the store cannot be asked: {error}"));
            self.next.push("keylend check".to_owned());
            return;
        }
        if let Some((text, database)) = &self.elsewhere {
            self.findings.push(text.clone());
            self.next.push(format!("MONGODB_DATABASE={database} keylend check"));
        }
        for wrong in self.pools.iter().flat_map(|pool| &pool.wrong_keys) {
            // A key is the same for all pools.
            if !self.findings.contains(wrong) {
                self.findings.push(wrong.clone());
            }
        }
        self.findings.extend(self.pools.iter().flat_map(PoolReport::findings));
        for pool in self.pools.iter().filter(|pool| pool.needs_migration > 0) {
            // Without a name, that pool is meant.
            let stability = pool.name == "stability";
            self.next.push(
                "keylend-migrate".to_owned()
                    + &if stability { String::new() } else { format!(" --pool {}", pool.name) },
            );
        }
        for pool in self.pools.iter().filter(|pool| pool.duplicates > 0) {
            self.next.push(format!("keylend keys remove --pool {} ID", pool.name));
        }
        for pool in &self.pools {
            let acts = [("encrypt", pool.to_encrypt()), ("decrypt", pool.to_decrypt()), ("rotate", pool.to_rotate())];
            let acts = acts.into_iter().filter(|(_, keys)| *keys > 0);
            self.next.extend(acts.map(|(act, _)| format!("keylend keys {act} --pool {}", pool.name)));
        }
        let followed = |name: &str| self.key_files.iter().any(|file| file.pool == name);
        let to_import = |pool: &&PoolReport| pool.documents == 0 && has_file(&pool.name) && !followed(&pool.name);
        for pool in self.pools.iter().filter(to_import) {
            self.next.push(format!("keylend keys import --pool {0} {0}.txt", pool.name));
        }
        // The keys of a file come when the server starts.
        let none_come = self.key_files.iter().all(|file| file.keys == 0);
        if self.elsewhere.is_none() && none_come && self.pools.iter().all(|pool| pool.documents == 0) {
            self.findings.push("there are no keys yet".to_owned());
            if self.next.is_empty() {
                self.next.push("keylend keys import FILE".to_owned());
            }
        }
        self.next.push("keylend".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pools: Vec<PoolReport>) -> Plan {
        Plan {
            settings: Vec::new(),
            store: StoreReport::found("x".to_owned()),
            databases: Vec::new(),
            pools,
            key_files: Vec::new(),
            findings: Vec::new(),
            next: Vec::new(),
            elsewhere: None,
        }
    }

    fn pool(change: impl FnOnce(&mut PoolReport)) -> PoolReport {
        let mut report = PoolReport::missing(&Policy::built_in()[0]);
        report.documents = 9;
        change(&mut report);
        report
    }

    #[test]
    fn each_finding_leads_to_a_command() {
        for (found, finding, next) in [
            (pool(|_| {}), None, vec!["keylend"]),
            (pool(|pool| pool.with_credits = 2), None, vec!["keylend"]),
            (
                pool(|pool| (pool.needs_migration, pool.invalid) = (2, 2)),
                Some("2 documents hold credits"),
                vec!["keylend-migrate", "keylend"],
            ),
            (pool(|pool| pool.invalid = 1), Some("1 documents cannot be understood"), vec!["keylend"]),
            (
                pool(|pool| (pool.encrypt, pool.encrypted) = (true, [("a".to_owned(), 7)].into())),
                Some("2 keys are not encrypted"),
                vec!["keylend keys encrypt --pool stability", "keylend"],
            ),
            (
                pool(|pool| pool.encrypted = [("a".to_owned(), 7)].into()),
                Some("7 keys are encrypted, although"),
                vec!["keylend keys decrypt --pool stability", "keylend"],
            ),
            (
                pool(|pool| (pool.encrypt, pool.by_others, pool.encrypted) = (true, 7, [("a".to_owned(), 9)].into())),
                Some("7 keys are encrypted with another key than the first"),
                vec!["keylend keys rotate --pool stability", "keylend"],
            ),
            (
                pool(|pool| pool.duplicates = 3),
                Some("3 secrets are in more than one document"),
                vec!["keylend keys remove --pool stability ID", "keylend"],
            ),
            (
                pool(|pool| pool.documents = 0),
                Some("there are no keys yet"),
                vec!["keylend keys import FILE", "keylend"],
            ),
        ] {
            let mut plan = plan(vec![found]);
            plan.conclude(|_| false);
            assert_eq!(plan.findings.len(), usize::from(finding.is_some()), "{:?}", plan.findings);
            assert!(finding.is_none_or(|finding| plan.findings[0].contains(finding)), "{:?}", plan.findings);
            assert_eq!(plan.next, next);
        }
        let mut plan = plan(vec![pool(|pool| pool.documents = 0)]);
        plan.conclude(|pool| pool == "stability");
        assert_eq!(plan.next, ["keylend keys import --pool stability stability.txt", "keylend"]);
    }

    #[test]
    fn the_keys_of_a_file_come_by_themselves() {
        let file = |keys, invalid, error: Option<&str>| {
            let error = error.map(str::to_owned);
            KeyFileReport { pool: "stability", path: "s.txt".to_owned(), keys, invalid, error }
        };
        for (file, finding, next) in [
            (file(2, 0, None), None, vec!["keylend"]),
            (file(2, 1, None), Some("1 of its lines are no keys"), vec!["keylend"]),
            (file(0, 1, None), Some("there is no key in it"), vec!["keylend keys import FILE", "keylend"]),
            (file(0, 0, Some("gone")), Some("s.txt: gone"), vec!["keylend keys import FILE", "keylend"]),
        ] {
            let mut plan = plan(vec![pool(|pool| pool.documents = 0)]);
            plan.key_files.push(file);
            plan.conclude(|_| true);
            assert!(finding.is_none_or(|finding| plan.findings[0].contains(finding)), "{:?}", plan.findings);
            assert_eq!(
                (plan.findings.is_empty(), plan.next),
                (finding.is_none(), next.iter().map(|next| (*next).to_owned()).collect())
            );
        }
    }

    #[test]
    fn a_store_that_cannot_be_asked_is_the_one_finding() {
        let mut plan = plan(Vec::new());
        plan.store.error = Some("refused".to_owned());
        plan.conclude(|_| true);
        assert_eq!((plan.findings.len(), plan.next), (1, vec!["keylend check".to_owned()]));
    }
}
