//! Where a setting's text comes from.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use clap::Args;

use super::file::File;
use super::{Fault, SETTINGS, secret_files};

/// The settings that can be given on the command line, over all others.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Connection string of a MongoDB; without one the embedded store is used (MONGODB_URI)
    #[arg(long, global = true, value_name = "URI")]
    pub mongodb_uri: Option<String>,
    /// Database on MongoDB (MONGODB_DATABASE, else the URI's, else keylend)
    #[arg(long, global = true, value_name = "NAME")]
    pub mongodb_database: Option<String>,
    /// File of the embedded store (KEYLEND_DATA, else keylend.db)
    #[arg(long, global = true, value_name = "FILE")]
    pub data: Option<String>,
    /// Longest wait for the store per request (KEYLEND_STORE_TIMEOUT, else 5s)
    #[arg(long, global = true, value_name = "DURATION")]
    pub store_timeout: Option<String>,
    /// Address to serve on (KEYLEND_LISTEN, else 127.0.0.1:5000)
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// File of settings, pools and tokens (KEYLEND_CONFIG, else keylend.toml where it exists)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<String>,
    /// Serve other machines although no tokens are set: whoever reaches the address gets keys
    #[arg(long, global = true)]
    pub insecure_open: bool,
}

/// Where a setting was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In `.env`.
    DotEnv,
    /// In `keylend.toml`, or the file that stands for it.
    File {
        /// The file as it was named.
        name: String,
        /// The line.
        line: usize,
    },
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::DotEnv => f.write_str(".env"),
            Self::File { name, line } => write!(f, "{name} line {line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting that is set.
pub(super) struct Found {
    pub(super) setting: &'static str,
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Looks for a setting at one place.
type Place = fn(&Source, &str) -> Option<(String, Origin)>;

/// Flags over environment over `.env` over `keylend.toml`.
pub struct Source {
    pub(super) flags: Flags,
    environment: HashMap<String, String>,
    dot_env: HashMap<String, String>,
    pub(super) file: File,
    /// The working directory, where the files are that are read where they exist.
    pub(super) folder: PathBuf,
    /// What was wrong with these places.
    pub(super) faults: Vec<Fault>,
}

/// The file that is read where it exists.
const FILE: &str = "keylend.toml";

impl Source {
    /// The flags with these variables and the text of a `keylend.toml`.
    pub fn new(
        flags: Flags,
        environment: HashMap<String, String>,
        dot_env: HashMap<String, String>,
        file: &str,
    ) -> Self {
        let mut faults = Vec::new();
        let file = File::parse(FILE, file, &mut faults);
        let mut source = Self { flags, environment, dot_env, file, folder: PathBuf::new(), faults };
        source.read_secrets();
        source
    }

    /// The flags with the process's environment, and the `.env` and the `keylend.toml` of the working directory, where
    /// there are any. What cannot be read is a fault among the others.
    pub fn of_process(flags: Flags) -> Self {
        Self::of(flags, std::env::vars_os(), Path::new(""))
    }

    pub(super) fn of(flags: Flags, environment: impl Iterator<Item = (OsString, OsString)>, folder: &Path) -> Self {
        let mut faults = Vec::new();
        let mut texts = HashMap::new();
        for (name, value) in environment {
            // What is no setting of ours is nobody's fault.
            let Some(name) = name.to_str().filter(|name| SETTINGS.contains(name)) else { continue };
            match value.into_string() {
                Ok(value) => drop(texts.insert(name.to_owned(), value)),
                Err(_) => faults.push(Fault::new(name, "it is no UTF-8 text")),
            }
        }
        let dot_env = read_dot_env(&folder.join(".env")).unwrap_or_else(|fault| {
            faults.push(fault);
            HashMap::new()
        });
        let (file, folder) = (File::default(), folder.to_owned());
        let mut source = Self { flags, environment: texts, dot_env, file, folder, faults };
        source.read_file();
        source.read_secrets();
        source
    }

    /// Puts what secret files hold in the places of their settings, each at the place that names it.
    fn read_secrets(&mut self) {
        secret_files::resolve(&mut self.environment, &self.folder, &mut self.faults);
        secret_files::resolve(&mut self.dot_env, &self.folder, &mut self.faults);
        self.file.read_secrets(&self.folder, &mut self.faults);
    }

    fn read_file(&mut self) {
        let named = self.find(&["KEYLEND_CONFIG"]);
        let name = named.as_ref().map_or(FILE, |named| &named.text);
        match std::fs::read_to_string(self.folder.join(name)) {
            Ok(text) => self.file = File::parse(name, &text, &mut self.faults),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if named.is_some() {
                    self.faults.push(Fault::new("KEYLEND_CONFIG", "there is no such file"));
                }
            }
            Err(error) => {
                let setting = if named.is_some() { "KEYLEND_CONFIG" } else { FILE };
                let advice = format!("the file cannot be read ({}): see to its rights and its text", error.kind());
                self.faults.push(Fault::new(setting, advice));
            }
        }
    }

    /// The first of these settings that is set: a flag before the environment before `.env` before `keylend.toml`, and
    /// at one place in the order of the names. Empty is not set.
    pub(super) fn find(&self, settings: &[&'static str]) -> Option<Found> {
        let places: [Place; 4] = [
            |source, name| Some((source.flag(name)?, Origin::Flag)),
            |source, name| Some((source.environment.get(name)?.clone(), Origin::Environment)),
            |source, name| Some((source.dot_env.get(name)?.clone(), Origin::DotEnv)),
            |source, name| {
                let (text, line) = source.file.get(name)?;
                Some((text.to_owned(), Origin::File { name: source.file.name.clone(), line }))
            },
        ];
        places.into_iter().find_map(|place| {
            settings.iter().find_map(|setting| {
                let (text, origin) = place(self, setting).filter(|(text, _)| !text.trim().is_empty())?;
                Some(Found { setting, text, origin })
            })
        })
    }

    fn flag(&self, name: &str) -> Option<String> {
        match name {
            "MONGODB_URI" => self.flags.mongodb_uri.clone(),
            "MONGODB_DATABASE" => self.flags.mongodb_database.clone(),
            "KEYLEND_DATA" => self.flags.data.clone(),
            "KEYLEND_STORE_TIMEOUT" => self.flags.store_timeout.clone(),
            "KEYLEND_LISTEN" => self.flags.listen.clone(),
            "KEYLEND_CONFIG" => self.flags.config.clone(),
            _ => None,
        }
    }
}

fn read_dot_env(path: &Path) -> Result<HashMap<String, String>, Fault> {
    // The parser's message repeats the line, which can hold a secret.
    let unreadable = "it cannot be read: see to its rights, or remove it";
    let malformed = "a line of it is not NAME=value; a value with spaces or # stands in quotes";
    match dotenvy::from_path_iter(path) {
        Ok(lines) => lines.map(|line| line.map_err(|_| Fault::new(".env", malformed))).collect(),
        Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(_) => Err(Fault::new(".env", unreadable)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn map(name: &str, value: &str) -> HashMap<String, String> {
        HashMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn each_place_goes_over_the_next_and_empty_is_unset() {
        let found = |flag: Option<&str>, environment: &str, dot_env: &str| {
            let flags = Flags { data: flag.map(str::to_owned), ..Flags::default() };
            let (environment, dot_env) = (map("KEYLEND_DATA", environment), map("KEYLEND_DATA", dot_env));
            let source = Source::new(flags, environment, dot_env, "\ndata = \"file\"");
            source.find(&["KEYLEND_DATA"]).map(|found| (found.text, found.origin.to_string())).unwrap()
        };
        let is = |text: &str, origin: &str| (text.to_owned(), origin.to_owned());
        assert_eq!(found(Some("flag"), "env", "dot"), is("flag", "flag"));
        assert_eq!(found(None, "env", "dot"), is("env", "environment"));
        assert_eq!(found(None, " ", "dot"), is("dot", ".env"));
        assert_eq!(found(None, "", ""), is("file", "keylend.toml line 2"));
        assert!(Source::new(Flags::default(), HashMap::new(), HashMap::new(), "").find(&["KEYLEND_DATA"]).is_none());
    }

    #[test]
    fn dot_env_is_read_and_its_faults_do_not_repeat_it() {
        let folder = tempfile::tempdir().expect("made");
        let path = folder.path().join(".env");
        assert_eq!(read_dot_env(&path), Ok(HashMap::new()));
        std::fs::write(&path, "# old server\nFLASK_RUN_PORT=5001\nMONGODB_URI=\"mongodb://h/\"\n").expect("written");
        let read = read_dot_env(&path).expect("valid");
        assert_eq!(read.get("FLASK_RUN_PORT").map(String::as_str), Some("5001"));
        std::fs::write(&path, "hush hush=\"\n").expect("written");
        let fault = read_dot_env(&path).expect_err("malformed");
        assert!(!fault.to_string().contains("hush"), "{fault}");
    }

    #[test]
    fn the_file_is_the_named_one_else_keylend_toml_where_it_exists() {
        let folder = tempfile::tempdir().expect("made");
        let of = |flag: Option<&str>| {
            let flags = Flags { config: flag.map(str::to_owned), ..Flags::default() };
            Source::of(flags, std::iter::empty(), folder.path())
        };
        let told = |source: &Source| source.faults.iter().map(Fault::to_string).collect::<Vec<_>>();
        assert_eq!(told(&of(None)), [""; 0]);
        assert_eq!(told(&of(Some("mine.toml"))), ["KEYLEND_CONFIG: there is no such file"]);
        std::fs::write(folder.path().join("keylend.toml"), "data = \"a\"").expect("written");
        std::fs::write(folder.path().join("mine.toml"), "data = \"b\"").expect("written");
        assert_eq!(of(None).find(&["KEYLEND_DATA"]).unwrap().text, "a");
        assert_eq!(of(Some("mine.toml")).find(&["KEYLEND_DATA"]).unwrap().origin.to_string(), "mine.toml line 1");
        std::fs::write(folder.path().join(".env"), "KEYLEND_CONFIG=mine.toml").expect("written");
        assert_eq!(of(None).find(&["KEYLEND_DATA"]).unwrap().text, "b");
        std::fs::write(folder.path().join("mine.toml"), b"data = \"\xff\"").expect("written");
        assert!(told(&of(None))[0].starts_with("KEYLEND_CONFIG: the file cannot be read"));
    }

    #[test]
    fn a_value_that_is_no_text_is_a_fault_where_it_is_ours() {
        let variables = [("KEYLEND_DATA", b"a\xff"), ("SOMEBODY_ELSES", b"b\xff")];
        let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from_vec(value.to_vec())));
        let source = Source::of(Flags::default(), variables.into_iter(), Path::new("/nowhere"));
        assert_eq!(source.faults, [Fault::new("KEYLEND_DATA", "it is no UTF-8 text")]);
    }
}
