//! Settings: read here and nowhere else, from flags, the environment, `.env` and `keylend.toml`, in this order.
//!
//! All faults are found before anything is opened or bound, and told together, each with the way out.

mod bot;
mod encryption;
mod file;
mod pools;
mod provider;
mod secret_files;
mod source;
pub mod table;
mod tokens;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

pub use bot::{AlertLow, BotSettings};
use bytesize::ByteSize;
pub use source::{Flags, Origin, Source};
pub use table::SETTINGS;

use crate::domain::{Policy, Tokens};
use crate::store::mongodb::MongoUri;
use crate::store::vault::Vault;
use crate::telemetry::{self, LogFormat};

/// All that keylend was told.
#[derive(Debug)]
pub struct Settings {
    /// Where the keys are.
    pub store: StoreSettings,
    /// `KEYLEND_STORE_TIMEOUT` (5s): the longest that a request waits for the store.
    pub store_timeout: Duration,
    /// `KEYLEND_LISTEN` (127.0.0.1:5000): the address to serve on.
    pub listen: SocketAddr,
    /// `--insecure-open`: serve other machines without any token.
    pub insecure_open: bool,
    /// `KEYLEND_TOKENS` and `[[tokens]]`: who may ask for what; none = callers need none.
    pub tokens: Tokens,
    /// `KEYLEND_ENCRYPTION_KEYS` and `KEYLEND_DIGEST_KEY` (none): how the secrets of the pools with `encrypt` are kept.
    pub vault: Vault,
    /// `KEYLEND_OPEN_FLASK` (false): the older Flask server's routes need no token.
    pub open_flask: bool,
    /// `KEYLEND_HOSTS` (none): names by which a server may be called besides those of its machine, such as that of a proxy
    /// on the same machine; looked at where there are no tokens, and wherever it is set.
    pub hosts: Vec<String>,
    /// `KEYLEND_TLS_CERT` and `KEYLEND_TLS_KEY`: the PEM files of the certificate and its key; None = plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `KEYLEND_COMBINE` (on): callers who come while others are served go to the store together.
    pub combine: bool,
    /// `KEYLEND_MAX_IN_FLIGHT` (1024): how many requests are answered at once.
    pub max_in_flight: usize,
    /// `KEYLEND_BODY_LIMIT` (64 KiB): the largest JSON body, in bytes.
    pub body_limit: usize,
    /// How the keys of each pool are lent: the built-in pools, as `[pools.NAME]` changes and joins them.
    pub pools: Vec<Policy>,
    /// The older Flask server's files.
    pub key_files: KeyFileSettings,
    /// What is logged, and where.
    pub log: LogSettings,
    /// Who did what to which key.
    pub audit: AuditSettings,
    /// Every setting as it is, for people.
    pub told: Vec<Told>,
}

/// The files of keys, and of the state that the older Flask server left beside them. They are never written.
#[derive(Clone, Debug, Default)]
pub struct KeyFileSettings {
    /// `PLANTID_FILE` and `HEALTHID_FILE` (plantid.txt, healthid.txt where they exist): each pool and its file.
    pub keys: Vec<(&'static str, PathBuf)>,
    /// `API_STATE_FILE` (api_state.json where it exists): the uses of each file's first key.
    pub state: Option<PathBuf>,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `RUST_LOG` (info; debug with `FLASK_DEBUG=True`): what is logged.
    pub filter: String,
    /// `LOG_FILE`: where to; None = stderr.
    pub file: Option<PathBuf>,
    /// `KEYLEND_LOG_FORMAT` (text): how.
    pub format: LogFormat,
}

/// The audit.
#[derive(Clone, Debug, Default)]
pub struct AuditSettings {
    /// `KEYLEND_AUDIT_FILE`: where it is written to; None = nowhere.
    pub file: Option<PathBuf>,
    /// `KEYLEND_AUDIT_REQUIRED` (false): an admin act that cannot be written there is refused.
    pub required: bool,
}

/// A setting as it is, and where it was set. No secret is in it.
#[derive(Clone, Debug)]
pub struct Told {
    /// The name of its variable.
    pub setting: &'static str,
    /// Its value, or what may be shown of it.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
}

/// Which store holds the keys.
#[derive(Debug)]
pub enum StoreSettings {
    /// `MONGODB_URI`, with `MONGODB_DATABASE` (None = the URI's, else `keylend`).
    MongoDb {
        /// Where the server is.
        uri: MongoUri,
        /// The database.
        database: Option<String>,
    },
    /// `KEYLEND_DATA` (keylend.db), where no MongoDB is named.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
}

/// What the settings are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A command on the store, whoever may reach the address.
    Command,
    /// Serving: who may reach the address matters.
    Serving,
}

/// One thing that is wrong with the settings. The value is not repeated: it can be a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting, or the place in a file.
    pub setting: String,
    /// What is wrong and what to write instead.
    pub advice: String,
}

impl Fault {
    /// A fault of this setting.
    pub fn new(setting: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { setting: setting.into(), advice: advice.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.advice)
    }
}

/// The port of the old Flask server, whose clients need not change.
const PORT: u16 = 5000;

/// The bounds of `KEYLEND_STORE_TIMEOUT`.
const STORE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

/// The bounds of `KEYLEND_MAX_IN_FLIGHT`.
const IN_FLIGHT: RangeInclusive<usize> = 1..=100_000;

/// The bounds of `KEYLEND_BODY_LIMIT`: 1 KiB to 64 MiB, which one request may hold in memory.
const BODY: RangeInclusive<u64> = 1024..=64 * 1024 * 1024;

impl Settings {
    /// Reads them all.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(source: Source, purpose: Purpose) -> Result<Self, Vec<Fault>> {
        let mut source = source;
        let faults = std::mem::take(&mut source.faults);
        let mut reader = Reader { source: &source, faults, told: Vec::new() };
        let store = reader.store();
        let store_timeout = reader.store_timeout();
        let listen = reader.listen();
        let pools = pools::read(&source.file.pools, &mut reader.faults);
        let vault = reader.vault(&pools);
        let before = reader.faults.len();
        let tokens = reader.tokens(&pools);
        let tokens_read = reader.faults.len() == before;
        let settings = Self {
            store,
            store_timeout,
            listen,
            insecure_open: source.flags.insecure_open,
            tokens,
            vault,
            open_flask: reader.open_flask(),
            hosts: reader.hosts(),
            tls: reader.tls(),
            combine: reader.combine(),
            max_in_flight: reader.max_in_flight(),
            body_limit: reader.body_limit(),
            pools,
            key_files: reader.key_files(),
            log: reader.log(),
            audit: reader.audit(),
            told: {
                reader.tell_file();
                reader.told
            },
        };
        let mut faults = reader.faults;
        if purpose == Purpose::Serving && tokens_read {
            faults.extend(settings.exposure());
        }
        if faults.is_empty() { Ok(settings) } else { Err(faults) }
    }

    /// That anybody could come for keys.
    fn exposure(&self) -> Option<Fault> {
        if self.listen.ip().is_loopback() || self.insecure_open || !self.tokens.is_empty() {
            return None;
        }
        let advice = format!(
            "{} is reached from other machines, and whoever reaches it gets keys: set tokens (keylend token new), listen \
             on 127.0.0.1, or start with --insecure-open if something in front of keylend lets only callers of yours \
             through",
            self.listen
        );
        Some(Fault::new("KEYLEND_LISTEN", advice))
    }
}

struct Reader<'a> {
    source: &'a Source,
    faults: Vec<Fault>,
    told: Vec<Told>,
}

impl Reader<'_> {
    fn tell(&mut self, setting: &'static str, value: impl Into<String>, origin: Origin) {
        self.told.push(Told { setting, value: value.into(), origin });
    }

    fn tell_file(&mut self) {
        let origin = self.source.find(&["KEYLEND_CONFIG"]).map_or(Origin::Default, |found| found.origin);
        let name = &self.source.file.name;
        self.tell("KEYLEND_CONFIG", if name.is_empty() { "none" } else { name }, origin);
    }

    /// The value of a setting, `default` where it is not set, or a fault that says what it looks like.
    fn parsed<T>(
        &mut self,
        setting: &'static str,
        default: T,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
        show: impl Fn(&T) -> String,
    ) -> T {
        let Some(found) = self.source.find(&[setting]) else {
            self.tell(setting, show(&default), Origin::Default);
            return default;
        };
        match parse(found.text.trim()) {
            Some(value) => {
                self.tell(setting, show(&value), found.origin);
                value
            }
            None => {
                self.refuse(setting, expected, &found.origin);
                default
            }
        }
    }

    fn refuse(&mut self, setting: &'static str, expected: &str, origin: &Origin) {
        self.faults.push(Fault::new(setting, format!("it must be {expected}{}", place(origin))));
    }

    fn store(&mut self) -> StoreSettings {
        // Where both a server and a file are set, the one that was set closer to the command line is meant.
        match self.source.find(&["MONGODB_URI", "MONGO_URI", "KEYLEND_DATA"]) {
            Some(found) if found.setting == "KEYLEND_DATA" => {
                self.tell(found.setting, &found.text, found.origin);
                StoreSettings::Sqlite { path: PathBuf::from(found.text) }
            }
            Some(found) => {
                let uri = MongoUri::new(&found.text);
                if !uri.is_well_formed() {
                    let expected = "a connection string such as mongodb://HOST:27017/DATABASE or \
                                    mongodb+srv://HOST/DATABASE, special characters of a password percent-encoded";
                    self.refuse(found.setting, expected, &found.origin);
                }
                self.tell(found.setting, "(not shown)", found.origin);
                let expected = "a database's name: 1 to 63 characters, none of them a space or one of /\\.\"$*<>:|?";
                let parse = |text: &str| is_database(text).then(|| Some(text.to_owned()));
                let show = |name: &Option<String>| name.clone().unwrap_or_else(|| "the URI's, else keylend".to_owned());
                let database = self.parsed("MONGODB_DATABASE", None, expected, parse, show);
                StoreSettings::MongoDb { uri, database }
            }
            None => {
                self.tell("KEYLEND_DATA", "keylend.db", Origin::Default);
                StoreSettings::Sqlite { path: PathBuf::from("keylend.db") }
            }
        }
    }

    fn store_timeout(&mut self) -> Duration {
        self.parsed(
            "KEYLEND_STORE_TIMEOUT",
            Duration::from_secs(5),
            "a duration from 100ms to 5m, such as 5s",
            |text| humantime::parse_duration(text).ok().filter(|limit| STORE_TIMEOUT.contains(limit)),
            |limit| humantime::format_duration(*limit).to_string(),
        )
    }

    fn listen(&mut self) -> SocketAddr {
        let expected = "a port from 0 to 65535";
        let port = self.parsed("FLASK_RUN_PORT", PORT, expected, |text| text.parse().ok(), u16::to_string);
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let expected = "an address and a port, such as 127.0.0.1:5000";
        let parse = |text: &str| {
            let address = text.replace("localhost:", "127.0.0.1:");
            address.parse().ok().or_else(|| address.parse::<IpAddr>().ok().map(|ip| SocketAddr::from((ip, port))))
        };
        self.parsed("KEYLEND_LISTEN", default, expected, parse, SocketAddr::to_string)
    }

    fn tokens(&mut self, pools: &[Policy]) -> Tokens {
        let found = self.source.find(&["KEYLEND_TOKENS"]);
        let entries = found.as_ref().map(|found| found.text.as_str());
        let sections = &self.source.file.tokens;
        let tokens = tokens::read(entries, sections, pools, &mut self.faults);
        let names: Vec<&str> = tokens.iter().map(|token| token.name()).collect();
        let value = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let origin = match (found, sections.first()) {
            (Some(found), _) => found.origin,
            (None, Some(section)) => section.origin(),
            (None, None) => Origin::Default,
        };
        self.tell("KEYLEND_TOKENS", value, origin);
        tokens
    }

    fn vault(&mut self, pools: &[Policy]) -> Vault {
        let (keys, digest) =
            (self.source.find(&["KEYLEND_ENCRYPTION_KEYS"]), self.source.find(&["KEYLEND_DIGEST_KEY"]));
        let text = |found: &Option<source::Found>| found.as_ref().map(|found| found.text.clone());
        let mut faults = Vec::new();
        let vault = encryption::read(text(&keys).as_deref(), text(&digest).as_deref(), pools, &mut faults);
        for fault in &mut faults {
            let found = [&keys, &digest].into_iter().flatten().find(|found| found.setting == fault.setting);
            fault.advice += &found.map(|found| place(&found.origin)).unwrap_or_default();
        }
        self.faults.append(&mut faults);
        let names: Vec<&str> = vault.names().collect();
        let origin = |found: Option<source::Found>| found.map_or(Origin::Default, |found| found.origin);
        let told = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        self.tell("KEYLEND_ENCRYPTION_KEYS", told, origin(keys));
        let told = if digest.is_some() { "(not shown)" } else { "none" };
        self.tell("KEYLEND_DIGEST_KEY", told, origin(digest));
        vault
    }

    fn combine(&mut self) -> bool {
        let show = |combine: &bool| if *combine { "on" } else { "off" }.to_owned();
        self.parsed("KEYLEND_COMBINE", true, "on or off", truth, show)
    }

    fn open_flask(&mut self) -> bool {
        self.parsed("KEYLEND_OPEN_FLASK", false, "true or false", truth, bool::to_string)
    }

    fn hosts(&mut self) -> Vec<String> {
        let expected = "names without ports, separated by commas, such as keys.example,flask_api";
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let parse = |text: &str| {
            let names: Vec<&str> = text.split(',').map(str::trim).collect();
            let good = names.iter().all(|name| !name.is_empty() && is_name(name));
            good.then(|| names.into_iter().map(str::to_owned).collect())
        };
        let show = |names: &Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        self.parsed("KEYLEND_HOSTS", Vec::new(), expected, parse, show)
    }

    fn tls(&mut self) -> Option<(PathBuf, PathBuf)> {
        let [certificate, key] = ["KEYLEND_TLS_CERT", "KEYLEND_TLS_KEY"].map(|setting| {
            let show =
                |path: &Option<PathBuf>| path.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
            self.parsed(setting, None, "the path of a PEM file", |path| Some(Some(PathBuf::from(path))), show)
        });
        match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (one, _) => {
                let missing = if one.is_none() { "KEYLEND_TLS_CERT" } else { "KEYLEND_TLS_KEY" };
                self.faults.push(Fault::new(missing, "it is not set: a certificate goes with its private key"));
                None
            }
        }
    }

    fn max_in_flight(&mut self) -> usize {
        let expected = format!("a whole number from {} to {}", IN_FLIGHT.start(), IN_FLIGHT.end());
        let parse = |text: &str| text.parse().ok().filter(|number| IN_FLIGHT.contains(number));
        self.parsed("KEYLEND_MAX_IN_FLIGHT", 1024, &expected, parse, usize::to_string)
    }

    fn body_limit(&mut self) -> usize {
        self.parsed(
            "KEYLEND_BODY_LIMIT",
            64 * 1024,
            "a size from 1 KiB to 64 MiB, such as 65536 or 64 KiB",
            |text| {
                let bytes = text.parse::<ByteSize>().ok()?.as_u64();
                usize::try_from(bytes).ok().filter(|_| BODY.contains(&bytes))
            },
            |bytes| ByteSize(*bytes as u64).to_string(),
        )
    }

    fn key_files(&mut self) -> KeyFileSettings {
        let files = [("plantid", "PLANTID_FILE", "plantid.txt"), ("healthid", "HEALTHID_FILE", "healthid.txt")];
        let keys = files.into_iter().filter_map(|(pool, setting, name)| Some((pool, self.old_file(setting, name)?)));
        let keys = keys.collect();
        KeyFileSettings { keys, state: self.old_file("API_STATE_FILE", "api_state.json") }
    }

    /// A file of the older server: the named one, whether it is there or not; else the one of the old name, where it is.
    fn old_file(&mut self, setting: &'static str, name: &str) -> Option<PathBuf> {
        let default = self.source.folder.join(name).exists().then(|| PathBuf::from(name));
        let show = |path: &Option<PathBuf>| path.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
        self.parsed(setting, default, "the path of a file", |path| Some(Some(PathBuf::from(path))), show)
    }

    fn log(&mut self) -> LogSettings {
        let file = self.parsed(
            "LOG_FILE",
            None,
            "the path of a file",
            |path| Some(Some(PathBuf::from(path))),
            |path| path.as_ref().map_or_else(|| "stderr".to_owned(), |path| path.display().to_string()),
        );
        let expected = "text or json";
        let show = |format: &LogFormat| format.as_str().to_owned();
        let format = self.parsed("KEYLEND_LOG_FORMAT", LogFormat::Text, expected, LogFormat::of_word, show);
        let debug = self.parsed("FLASK_DEBUG", false, "True or False", truth, bool::to_string);
        let default = if debug { "debug" } else { "info" }.to_owned();
        let expected = "a level such as info, or a list such as keylend=debug,warn";
        let parse = |text: &str| telemetry::is_filter(text).then(|| text.to_owned());
        let filter = self.parsed("RUST_LOG", default, expected, parse, String::clone);
        LogSettings { filter, file, format }
    }

    fn audit(&mut self) -> AuditSettings {
        let show = |path: &Option<PathBuf>| path.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
        let parse = |path: &str| Some(Some(PathBuf::from(path)));
        let file = self.parsed("KEYLEND_AUDIT_FILE", None, "the path of a file", parse, show);
        let required = self.parsed("KEYLEND_AUDIT_REQUIRED", false, "true or false", truth, bool::to_string);
        if required && file.is_none() {
            self.faults.push(Fault::new("KEYLEND_AUDIT_FILE", "it is not set, and KEYLEND_AUDIT_REQUIRED is true"));
        }
        AuditSettings { file, required }
    }
}

/// Where a faulty value stands, where that is in a file.
fn place(origin: &Origin) -> String {
    match origin {
        Origin::Flag | Origin::Environment | Origin::Default => String::new(),
        Origin::DotEnv | Origin::File { .. } => format!(" ({origin})"),
    }
}

/// The words that Flask takes.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

fn is_database(name: &str) -> bool {
    let refused = |character: char| character.is_whitespace() || "/\\.\"$*<>:|?\0".contains(character);
    (1..=63).contains(&name.len()) && !name.contains(refused)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Vec<Fault>> {
        read_with(Flags::default(), variables)
    }

    fn read_with(flags: Flags, variables: &[(&str, &str)]) -> Result<Settings, Vec<Fault>> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(Source::new(flags, environment.collect(), HashMap::new(), ""), Purpose::Serving)
    }

    #[test]
    fn everything_has_a_default() {
        let settings = read(&[]).expect("valid");
        assert!(matches!(settings.store, StoreSettings::Sqlite { path } if path.as_os_str() == "keylend.db"));
        assert_eq!(settings.store_timeout, Duration::from_secs(5));
        assert_eq!(settings.listen.to_string(), "127.0.0.1:5000");
        assert_eq!((settings.body_limit, settings.max_in_flight), (65_536, 1024));
        assert_eq!(
            (settings.log.filter.as_str(), settings.log.file, settings.log.format),
            ("info", None, LogFormat::Text)
        );
        assert!(settings.tokens.is_empty() && !settings.open_flask && settings.combine);
        assert_eq!(settings.pools, Policy::built_in());
        assert!(settings.key_files.keys.is_empty() && settings.key_files.state.is_none());
        assert!(settings.told.iter().all(|told| told.origin == Origin::Default));
    }

    #[test]
    fn the_files_of_the_older_server_are_the_named_ones_or_those_of_the_old_names_that_exist() {
        let folder = tempfile::tempdir().expect("made");
        let files = |variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let source = Source::of(Flags::default(), environment, folder.path());
            let files = Settings::read(source, Purpose::Serving).expect("valid").key_files;
            let keys = files.keys.into_iter().map(|(pool, path)| format!("{pool} {}", path.display()));
            (keys.collect::<Vec<_>>().join(", "), files.state.map(|path| path.display().to_string()))
        };
        assert_eq!(files(&[]), (String::new(), None));
        let named = [("HEALTHID_FILE", "h.txt"), ("API_STATE_FILE", "/old/state.json")];
        assert_eq!(files(&named), ("healthid h.txt".to_owned(), Some("/old/state.json".to_owned())));
        for name in ["plantid.txt", "healthid.txt", "api_state.json"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let both = |state: &str| ("plantid plantid.txt, healthid h.txt".to_owned(), Some(state.to_owned()));
        assert_eq!(files(&named[..1]), both("api_state.json"));
        assert_eq!(files(&named), both("/old/state.json"));
    }

    #[test]
    fn the_variables_of_the_old_servers_are_understood() {
        let settings = read(&[("FLASK_RUN_PORT", "5001"), ("FLASK_DEBUG", "True"), ("MONGO_URI", "mongodb://h/")]);
        let settings = settings.expect("valid");
        assert_eq!((settings.listen.to_string().as_str(), settings.log.filter.as_str()), ("127.0.0.1:5001", "debug"));
        assert!(matches!(settings.store, StoreSettings::MongoDb { database: None, .. }));
    }

    #[test]
    fn flags_go_over_the_environment() {
        let flags = Flags { listen: Some("127.0.0.1:1".into()), data: Some("x.db".into()), ..Flags::default() };
        let settings = read_with(flags, &[("KEYLEND_LISTEN", "127.0.0.1:2"), ("KEYLEND_DATA", "y.db")]).expect("valid");
        assert_eq!(settings.listen.port(), 1);
        assert!(matches!(settings.store, StoreSettings::Sqlite { path } if path.as_os_str() == "x.db"));
    }

    #[test]
    fn all_faults_are_told_at_once_without_repeating_a_value() {
        let settings = [
            "MONGODB_URI",
            "MONGODB_DATABASE",
            "KEYLEND_STORE_TIMEOUT",
            "FLASK_RUN_PORT",
            "KEYLEND_LISTEN",
            "KEYLEND_TOKENS",
            "KEYLEND_MAX_IN_FLIGHT",
            "KEYLEND_BODY_LIMIT",
            "KEYLEND_LOG_FORMAT",
            "FLASK_DEBUG",
        ];
        let hush: Vec<(&str, &str)> =
            settings.into_iter().chain(["RUST_LOG"]).map(|setting| (setting, "hush hush=[")).collect();
        let faults = read(&hush).expect_err("faults");
        let told: Vec<&str> = faults.iter().map(|fault| fault.setting.as_str()).collect();
        assert_eq!(told, settings.into_iter().chain(["RUST_LOG"]).collect::<Vec<_>>());
        assert!(faults.iter().all(|fault| !fault.to_string().contains("hush")));
    }

    #[test]
    fn other_machines_are_served_only_when_asked_for() {
        for (listen, open) in
            [("127.0.0.1:1", true), ("[::1]:1", true), ("localhost:1", true), ("0.0.0.0:1", false), ("10.0.0.1", false)]
        {
            assert_eq!(read(&[("KEYLEND_LISTEN", listen)]).is_ok(), open, "{listen}");
            let flags = Flags { insecure_open: true, ..Flags::default() };
            assert!(read_with(flags, &[("KEYLEND_LISTEN", listen)]).is_ok(), "{listen}");
        }
    }

    #[test]
    fn tokens_are_enough_for_other_machines_and_a_command_serves_nobody() {
        let token = format!("web:service:{}", "0".repeat(64));
        assert!(read(&[("KEYLEND_LISTEN", "0.0.0.0:1"), ("KEYLEND_TOKENS", &token)]).is_ok());
        // One fault of the tokens is not two.
        let faults = read(&[("KEYLEND_LISTEN", "0.0.0.0:1"), ("KEYLEND_TOKENS", "hush")]).expect_err("faults");
        assert_eq!(faults.len(), 1);
        let environment = HashMap::from([("KEYLEND_LISTEN".to_owned(), "0.0.0.0:1".to_owned())]);
        let source = Source::new(Flags::default(), environment, HashMap::new(), "");
        assert!(Settings::read(source, Purpose::Command).is_ok());
    }

    #[test]
    fn the_file_sets_what_nothing_else_does() {
        let text = "listen = \"127.0.0.1:7\"\nmax_in_flight = 7\nbody_limit = \"1 MiB\"\nlog_format = \"json\"\n\
                    flask_debug = true\n[pools.mine]\nuses_per_key = 7\n[[tokens]]\nname = \"web\"\n\
                    roles = [\"service\"]\npools = [\"mine\"]\n";
        let text = format!("{text}sha256 = \"{}\"\n", "0".repeat(64));
        let environment = HashMap::from([("KEYLEND_MAX_IN_FLIGHT".to_owned(), "8".to_owned())]);
        let source = Source::new(Flags::default(), environment, HashMap::new(), &text);
        let settings = Settings::read(source, Purpose::Serving).expect("valid");
        assert_eq!((settings.listen.port(), settings.max_in_flight, settings.body_limit), (7, 8, 1024 * 1024));
        assert_eq!((settings.log.filter.as_str(), settings.log.format), ("debug", LogFormat::Json));
        assert_eq!((settings.pools.len(), settings.tokens.iter().count()), (4, 1));
        let told = |name: &str| {
            let told = settings.told.iter().find(|told| told.setting == name).unwrap();
            format!("{} ({})", told.value, told.origin)
        };
        assert_eq!(told("KEYLEND_LISTEN"), "127.0.0.1:7 (keylend.toml line 1)");
        assert_eq!(told("KEYLEND_MAX_IN_FLIGHT"), "8 (environment)");
        assert_eq!(told("KEYLEND_BODY_LIMIT"), "1.0 MiB (keylend.toml line 3)");
        assert_eq!(told("KEYLEND_TOKENS"), "web (keylend.toml line 8)");
        assert_eq!(told("LOG_FILE"), "stderr (default)");
    }

    #[test]
    fn faults_in_a_file_are_told_with_the_others_and_their_place() {
        let environment = HashMap::from([("KEYLEND_MAX_IN_FLIGHT".to_owned(), "0".to_owned())]);
        let text = "listn = 1\nlisten = \"x\"\n[pools.plantid]\nuses_per_key = 0\n[[tokens]]\n";
        let source = Source::new(Flags::default(), environment, HashMap::new(), text);
        let faults = Settings::read(source, Purpose::Serving).expect_err("faults");
        let told = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
        for expected in [
            "keylend.toml line 1: ",
            "(keylend.toml line 2)",
            "keylend.toml line 4: ",
            "keylend.toml line 5: ",
            "KEYLEND_MAX_IN_FLIGHT: ",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        assert_eq!(faults.len(), 5, "{told}");
    }

    #[test]
    fn sizes_and_numbers_have_bounds() {
        let cases = [
            ("KEYLEND_BODY_LIMIT", "1024", true),
            ("KEYLEND_BODY_LIMIT", "64 KiB", true),
            ("KEYLEND_BODY_LIMIT", "1MiB", true),
            ("KEYLEND_BODY_LIMIT", "64 MiB", true),
            ("KEYLEND_BODY_LIMIT", "1023", false),
            ("KEYLEND_BODY_LIMIT", "65 MiB", false),
            ("KEYLEND_BODY_LIMIT", "-1", false),
            ("KEYLEND_BODY_LIMIT", "much", false),
            ("KEYLEND_MAX_IN_FLIGHT", "1", true),
            ("KEYLEND_MAX_IN_FLIGHT", "100000", true),
            ("KEYLEND_MAX_IN_FLIGHT", "0", false),
            ("KEYLEND_MAX_IN_FLIGHT", "100001", false),
            ("KEYLEND_COMBINE", "off", true),
            ("KEYLEND_COMBINE", "perhaps", false),
            ("KEYLEND_OPEN_FLASK", "true", true),
            ("KEYLEND_HOSTS", "keys.example, flask_api", true),
            ("KEYLEND_HOSTS", "keys.example:5000", false),
            ("KEYLEND_HOSTS", "http://keys.example", false),
            ("KEYLEND_HOSTS", "a,,b", false),
            ("KEYLEND_OPEN_FLASK", "perhaps", false),
            ("FLASK_DEBUG", "False", true),
            ("FLASK_DEBUG", "maybe", false),
            ("KEYLEND_LOG_FORMAT", "json", true),
            ("KEYLEND_LOG_FORMAT", "xml", false),
        ];
        for (setting, text, valid) in cases {
            assert_eq!(read(&[(setting, text)]).is_ok(), valid, "{setting} {text}");
        }
        for (database, valid) in [("keylend", true), ("a.b", false), ("a b", false), ("a/b", false)] {
            let variables = [("MONGODB_URI", "mongodb://h/"), ("MONGODB_DATABASE", database)];
            assert_eq!(read(&variables).is_ok(), valid, "{database}");
        }
        for (uri, valid) in [
            ("mongodb://h/", true),
            ("mongodb+srv://h.example.com/x", true),
            ("http://h/", false),
            ("mongodb://", false),
        ] {
            assert_eq!(read(&[("MONGODB_URI", uri)]).is_ok(), valid, "{uri}");
        }
    }

    #[test]
    fn the_store_that_is_set_closest_to_the_command_line_is_meant() {
        let map = |name: &str| HashMap::from([(name.to_owned(), "mongodb://h/".to_owned())]);
        let none = HashMap::new;
        let on_mongodb = |source: Source| {
            let settings = Settings::read(source, Purpose::Command).expect("valid");
            matches!(settings.store, StoreSettings::MongoDb { .. })
        };
        let data = || Flags { data: Some("x.db".into()), ..Flags::default() };
        assert!(!on_mongodb(Source::new(data(), map("MONGODB_URI"), none(), "")));
        assert!(!on_mongodb(Source::new(Flags::default(), map("KEYLEND_DATA"), map("MONGODB_URI"), "")));
        assert!(on_mongodb(Source::new(Flags::default(), map("MONGO_URI"), map("KEYLEND_DATA"), "")));
        let both = Flags { mongodb_uri: Some("mongodb://h/".into()), ..data() };
        assert!(on_mongodb(Source::new(both, none(), none(), "data = 'x'")));
    }

    #[test]
    fn time_limits_have_bounds() {
        for (text, valid) in
            [("5s", true), ("100ms", true), ("5m", true), ("99ms", false), ("6m", false), ("5", false), ("-1s", false)]
        {
            assert_eq!(read(&[("KEYLEND_STORE_TIMEOUT", text)]).is_ok(), valid, "{text}");
        }
    }
}
