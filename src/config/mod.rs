//! Settings: read here and nowhere else, from flags, the environment and `.env`, in this order.
//!
//! All faults are found before anything is opened or bound, and told together, each with the way out.

mod source;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use source::{Flags, Source};

use crate::store::mongodb::MongoUri;
use crate::telemetry;

/// All that keylend can be told.
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
    /// `KEYLEND_BODY_LIMIT` (64 KiB): the largest JSON body, in bytes.
    pub body_limit: usize,
    /// `RUST_LOG` (info; debug with `FLASK_DEBUG=True`): what is logged.
    pub log: String,
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

/// One thing that is wrong with the settings. The value is not repeated: it can be a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong and what to write instead.
    pub advice: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.advice)
    }
}

/// The port of the old Flask server, whose clients need not change.
const PORT: u16 = 5000;

impl Settings {
    /// Reads them all.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(source: &Source) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader { source, faults: Vec::new() };
        let settings = Self {
            store: reader.store(),
            store_timeout: reader.store_timeout(),
            listen: reader.listen(),
            insecure_open: source.flags.insecure_open,
            body_limit: reader.parsed("KEYLEND_BODY_LIMIT", 64 * 1024, "a number of bytes from 1024", |text| {
                text.parse().ok().filter(|bytes| *bytes >= 1024)
            }),
            log: reader.log(),
        };
        if !settings.listen.ip().is_loopback() && !settings.insecure_open {
            reader.faults.push(Fault {
                setting: "KEYLEND_LISTEN",
                advice: format!(
                    "{} is reached from other machines, and whoever reaches it gets keys: listen on 127.0.0.1, or \
                     start with --insecure-open if something in front of keylend lets only callers of yours through",
                    settings.listen
                ),
            });
        }
        if reader.faults.is_empty() { Ok(settings) } else { Err(reader.faults) }
    }
}

struct Reader<'a> {
    source: &'a Source,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// The value of a setting, `default` where it is not set, or a fault that says what it looks like.
    fn parsed<T>(&mut self, name: &'static str, default: T, expected: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let Some(text) = self.source.get(name) else { return default };
        parse(text.trim()).unwrap_or_else(|| {
            self.faults.push(Fault { setting: name, advice: format!("it must be {expected}") });
            default
        })
    }

    fn store(&mut self) -> StoreSettings {
        // Where both a server and a file are set, the one that was set closer to the command line is meant.
        match self.source.first_of(&["MONGODB_URI", "MONGO_URI", "KEYLEND_DATA"]) {
            Some(("KEYLEND_DATA", path)) => StoreSettings::Sqlite { path: PathBuf::from(path) },
            Some((setting, uri)) => {
                if !uri.starts_with("mongodb://") && !uri.starts_with("mongodb+srv://") {
                    let advice = "it must start with mongodb:// or mongodb+srv://".to_owned();
                    self.faults.push(Fault { setting, advice });
                }
                let database = self.source.get("MONGODB_DATABASE");
                StoreSettings::MongoDb { uri: MongoUri::new(&uri), database }
            }
            None => StoreSettings::Sqlite { path: PathBuf::from("keylend.db") },
        }
    }

    fn store_timeout(&mut self) -> Duration {
        let expected = "a duration from 100ms to 5m, such as 5s";
        let within = Duration::from_millis(100)..=Duration::from_secs(300);
        self.parsed("KEYLEND_STORE_TIMEOUT", Duration::from_secs(5), expected, |text| {
            humantime::parse_duration(text).ok().filter(|limit| within.contains(limit))
        })
    }

    fn listen(&mut self) -> SocketAddr {
        let port = self.parsed("FLASK_RUN_PORT", PORT, "a port from 0 to 65535", |text| text.parse().ok());
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let expected = "an address and a port, such as 127.0.0.1:5000";
        self.parsed("KEYLEND_LISTEN", default, expected, |text| {
            let address = text.replace("localhost:", "127.0.0.1:");
            address.parse().ok().or_else(|| address.parse::<IpAddr>().ok().map(|ip| SocketAddr::from((ip, port))))
        })
    }

    fn log(&mut self) -> String {
        let debug = self.source.get("FLASK_DEBUG").is_some_and(|flag| matches!(flag.as_str(), "True" | "true" | "1"));
        let default = if debug { "debug" } else { "info" }.to_owned();
        let expected = "a level such as info, or a list such as keylend=debug,warn";
        self.parsed("RUST_LOG", default, expected, |text| telemetry::is_filter(text).then(|| text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Vec<Fault>> {
        read_with(Flags::default(), variables)
    }

    fn read_with(flags: Flags, variables: &[(&str, &str)]) -> Result<Settings, Vec<Fault>> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(&Source::new(flags, environment.collect(), std::collections::HashMap::new()))
    }

    #[test]
    fn everything_has_a_default() {
        let settings = read(&[]).expect("valid");
        assert!(matches!(settings.store, StoreSettings::Sqlite { path } if path.as_os_str() == "keylend.db"));
        assert_eq!(settings.store_timeout, Duration::from_secs(5));
        assert_eq!(settings.listen.to_string(), "127.0.0.1:5000");
        assert_eq!((settings.body_limit, settings.log.as_str()), (65_536, "info"));
    }

    #[test]
    fn the_variables_of_the_old_servers_are_understood() {
        let settings = read(&[("FLASK_RUN_PORT", "5001"), ("FLASK_DEBUG", "True"), ("MONGO_URI", "mongodb://h/")]);
        let settings = settings.expect("valid");
        assert_eq!((settings.listen.to_string().as_str(), settings.log.as_str()), ("127.0.0.1:5001", "debug"));
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
        let faults = read(&[
            ("MONGODB_URI", "hush"),
            ("KEYLEND_STORE_TIMEOUT", "hush"),
            ("KEYLEND_LISTEN", "hush"),
            ("KEYLEND_BODY_LIMIT", "hush"),
            ("FLASK_RUN_PORT", "hush"),
        ])
        .expect_err("faults");
        let settings: Vec<&str> = faults.iter().map(|fault| fault.setting).collect();
        assert_eq!(
            settings,
            ["MONGODB_URI", "KEYLEND_STORE_TIMEOUT", "FLASK_RUN_PORT", "KEYLEND_LISTEN", "KEYLEND_BODY_LIMIT"]
        );
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
    fn the_store_that_is_set_closest_to_the_command_line_is_meant() {
        let map = |name: &str| std::collections::HashMap::from([(name.to_owned(), "mongodb://h/".to_owned())]);
        let none = std::collections::HashMap::new;
        let on_mongodb =
            |source: Source| matches!(Settings::read(&source).expect("valid").store, StoreSettings::MongoDb { .. });
        let data = || Flags { data: Some("x.db".into()), ..Flags::default() };
        assert!(!on_mongodb(Source::new(data(), map("MONGODB_URI"), none())));
        assert!(!on_mongodb(Source::new(Flags::default(), map("KEYLEND_DATA"), map("MONGODB_URI"))));
        assert!(on_mongodb(Source::new(Flags::default(), map("MONGO_URI"), map("KEYLEND_DATA"))));
        let both = Flags { mongodb_uri: Some("mongodb://h/".into()), ..data() };
        assert!(on_mongodb(Source::new(both, none(), none())));
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
