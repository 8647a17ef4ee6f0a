//! Where a setting's text comes from.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use clap::Args;

use super::Fault;

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
    /// Serve other machines although no tokens are set: whoever reaches the address gets keys
    #[arg(long, global = true)]
    pub insecure_open: bool,
}

/// Flags over environment over `.env`.
pub struct Source {
    pub(super) flags: Flags,
    environment: HashMap<String, String>,
    dot_env: HashMap<String, String>,
}

impl Source {
    /// The flags with these variables.
    pub fn new(flags: Flags, environment: HashMap<String, String>, dot_env: HashMap<String, String>) -> Self {
        Self { flags, environment, dot_env }
    }

    /// The flags with the process's environment and the `.env` of the working directory, where there is one.
    ///
    /// # Errors
    /// Where `.env` cannot be read.
    pub fn of_process(flags: Flags) -> Result<Self, Fault> {
        // A variable that is no text cannot be one of ours.
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Self::new(flags, environment.collect(), read_dot_env(Path::new(".env"))?))
    }

    /// The text of a setting; None where it is set nowhere, or is empty.
    pub fn get(&self, name: &'static str) -> Option<String> {
        self.first_of(&[name]).map(|(_, text)| text)
    }

    /// The first of these settings that is set, and its text: a flag before the environment before `.env`, and at one
    /// place in the order of the names.
    pub fn first_of(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        let places: [fn(&Self, &str) -> Option<String>; 3] = [
            Self::flag,
            |source, name| source.environment.get(name).cloned(),
            |source, name| source.dot_env.get(name).cloned(),
        ];
        places.into_iter().find_map(|place| {
            names.iter().find_map(|name| {
                let text = place(self, name).filter(|text| !text.trim().is_empty())?;
                Some((*name, text))
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
            _ => None,
        }
    }
}

fn read_dot_env(path: &Path) -> Result<HashMap<String, String>, Fault> {
    // The parser's message repeats the line, which can hold a secret.
    let fault = |advice: &str| Fault { setting: ".env", advice: advice.to_owned() };
    let unreadable = "it cannot be read: see to its rights, or remove it";
    let malformed = "a line of it is not NAME=value; a value with spaces or # stands in quotes";
    match dotenvy::from_path_iter(path) {
        Ok(lines) => lines.map(|line| line.map_err(|_| fault(malformed))).collect(),
        Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(_) => Err(fault(unreadable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, value: &str) -> HashMap<String, String> {
        HashMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_environment_goes_over_dot_env_and_empty_is_unset() {
        let source = |environment: &str| {
            Source::new(Flags::default(), map("KEYLEND_DATA", environment), map("KEYLEND_DATA", "dot"))
        };
        assert_eq!(source("env").get("KEYLEND_DATA").as_deref(), Some("env"));
        assert_eq!(source(" ").get("KEYLEND_DATA").as_deref(), Some("dot"));
        assert_eq!(source("env").get("OTHER"), None);
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
}
