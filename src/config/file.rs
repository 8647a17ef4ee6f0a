//! `keylend.toml`: which names it may hold, and where each of them stands.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Fault, Origin, SETTINGS, secret_files};

/// What stands in the file: the settings by the names of their variables, and the sections.
#[derive(Debug, Default)]
pub(super) struct File {
    /// The file as it was named.
    pub(super) name: String,
    values: HashMap<&'static str, (String, usize)>,
    /// `[pools.NAME]`, in the order of the file.
    pub(super) pools: Vec<Section>,
    /// `[[tokens]]`, in the order of the file.
    pub(super) tokens: Vec<Section>,
}

/// The names beside the settings.
const SECTIONS: [&str; 2] = ["pools", "tokens"];

/// A variable's name in the file: in lower case, without `KEYLEND_`. None for one that has no place in it.
fn name_in_file(setting: &str) -> Option<String> {
    let elsewhere = matches!(setting, "KEYLEND_CONFIG" | "KEYLEND_TOKENS");
    (!elsewhere).then(|| setting.trim_start_matches("KEYLEND_").to_lowercase())
}

impl File {
    /// Understands the text as far as its names go. What is wrong with it becomes faults, which never repeat it.
    pub(super) fn parse(name: &str, text: &str, faults: &mut Vec<Fault>) -> Self {
        let mut file = Self { name: name.to_owned(), ..Self::default() };
        let place = |at: usize| Place { file: name.to_owned(), line: line_of(text, at) };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(text.len(), |span| span.start);
            faults.push(Fault::new(place(at), format!("it cannot be read: {}", error.message())));
        }
        if !errors.is_empty() {
            return file;
        }
        for (key, value) in table.get_ref() {
            let at = place(key.span().start);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("pools", DeValue::Table(pools)) => {
                    for (name, pool) in pools {
                        let at = place(name.span().start);
                        let title = format!("pools.{}", name.get_ref());
                        match pool.get_ref() {
                            DeValue::Table(pool) => file.pools.push(Section::new(at, title, pool, place)),
                            _ => faults.push(Fault::new(at, "a pool is a section: [pools.NAME]")),
                        }
                    }
                }
                ("pools", _) => faults.push(Fault::new(at, "pools are sections: [pools.NAME]")),
                ("tokens", DeValue::Array(tokens)) => {
                    for token in tokens {
                        let at = place(token.span().start);
                        match token.get_ref() {
                            DeValue::Table(token) => {
                                file.tokens.push(Section::new(at, "tokens".to_owned(), token, place));
                            }
                            _ => faults.push(Fault::new(at, "a token is a section: [[tokens]]")),
                        }
                    }
                }
                ("tokens", _) => faults.push(Fault::new(at, "tokens are sections: [[tokens]], one for each")),
                (key, value) => file.take_setting(key, value, at, faults),
            }
        }
        // The parser gives them by name.
        file.pools.sort_by_key(|section| section.place.line);
        file
    }

    fn take_setting(&mut self, key: &str, value: &DeValue<'_>, at: Place, faults: &mut Vec<Fault>) {
        let Some(setting) = SETTINGS.into_iter().find(|setting| name_in_file(setting).as_deref() == Some(key)) else {
            let names = SETTINGS.iter().filter_map(|setting| name_in_file(setting));
            let known: Vec<String> = names.chain(SECTIONS.map(str::to_owned)).collect();
            faults.push(Fault::new(at, no_such(key, &known.iter().map(String::as_str).collect::<Vec<_>>())));
            return;
        };
        let text = match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', ""),
            DeValue::Boolean(truth) => truth.to_string(),
            _ => {
                let advice = format!("{key} must be a text in quotes, a whole number, true or false");
                return faults.push(Fault::new(at, advice));
            }
        };
        self.values.insert(setting, (text, at.line));
    }

    /// Puts what secret files hold in the places of their settings.
    pub(super) fn read_secrets(&mut self, folder: &Path, faults: &mut Vec<Fault>) {
        for (setting, named) in secret_files::SECRETS {
            let Some((path, line)) = self.values.get(named).filter(|(path, _)| !path.trim().is_empty()) else {
                continue;
            };
            if self.values.contains_key(setting) {
                faults.push(secret_files::both(setting, named));
                continue;
            }
            match secret_files::read(&folder.join(path.trim())) {
                Ok(text) => drop(self.values.insert(setting, (text, *line))),
                Err(advice) => faults.push(Fault::new(named, advice)),
            }
        }
    }

    /// The text of a setting, and its line.
    pub(super) fn get(&self, setting: &str) -> Option<(&str, usize)> {
        self.values.get(setting).map(|(text, line)| (text.as_str(), *line))
    }
}

/// Says that a name is unknown, and which one may be meant. Does not repeat it: it could be a secret in a wrong place.
fn no_such(name: &str, known: &[&str]) -> String {
    let distance = |known: &str| strsim::osa_distance(&name.to_lowercase(), known);
    match known.iter().min_by_key(|known| distance(known)).filter(|known| distance(known) <= known.len() / 3) {
        Some(nearest) => format!("there is no such name; did you mean {nearest}?"),
        None => format!("there is no such name; there are: {}", known.join(", ")),
    }
}

/// The line on which a byte stands, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// A place in the file.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: String,
    line: usize,
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        format!("{} line {}", place.file, place.line)
    }
}

/// A section of the file with names of its own.
#[derive(Debug)]
pub(super) struct Section {
    place: Place,
    /// Its heading: `pools.NAME` or `tokens`.
    pub(super) title: String,
    entries: Vec<(String, Value, Place)>,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Whole(u64),
    Truth(bool),
    Texts(Vec<String>),
    Section(Section),
    Other,
}

impl Section {
    fn new(at: Place, title: String, table: &DeTable<'_>, place: impl Fn(usize) -> Place + Copy) -> Self {
        let entries = table.iter().map(|(key, value)| {
            let at = place(key.span().start);
            let value = match value.get_ref() {
                DeValue::String(text) => Value::Text(text.to_string()),
                DeValue::Integer(number) => u64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                    .map_or(Value::Other, Value::Whole),
                DeValue::Array(items) => {
                    let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
                    texts.collect::<Option<Vec<_>>>().map_or(Value::Other, Value::Texts)
                }
                DeValue::Boolean(truth) => Value::Truth(*truth),
                DeValue::Table(inner) => {
                    let title = format!("{title}.{}", key.get_ref());
                    Value::Section(Self::new(at.clone(), title, inner, place))
                }
                _ => Value::Other,
            };
            (key.get_ref().to_string(), value, at)
        });
        let entries = entries.collect();
        Self { place: at, title, entries }
    }

    /// Where it stands.
    pub(super) fn origin(&self) -> Origin {
        Origin::File { name: self.place.file.clone(), line: self.place.line }
    }

    /// A fault of the whole section.
    pub(super) fn fault(&self, advice: impl Into<String>) -> Fault {
        Fault::new(self.place.clone(), advice)
    }

    /// Whether it has this name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, ..)| name == key)
    }

    /// Finds the names that are none of these.
    pub(super) fn refuse_unknown(&self, known: &[&str], faults: &mut Vec<Fault>) {
        for (key, _, at) in &self.entries {
            if !known.contains(&key.as_str()) {
                faults.push(Fault::new(at.clone(), no_such(key, known)));
            }
        }
    }

    /// The value of a name; None where it is not there, or is a fault: then `expected` is said.
    fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        faults: &mut Vec<Fault>,
        understand: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let (_, value, at) = self.entries.iter().find(|(name, ..)| name == key)?;
        let understood = understand(value);
        if understood.is_none() {
            faults.push(Fault::new(at.clone(), format!("{key} must be {expected}")));
        }
        understood
    }

    /// What a text says.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        faults: &mut Vec<Fault>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.get(key, expected, faults, |value| match value {
            Value::Text(text) => parse(text),
            _ => None,
        })
    }

    /// What a list of texts says.
    pub(super) fn list<T>(
        &self,
        key: &str,
        expected: &str,
        faults: &mut Vec<Fault>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.get(key, expected, faults, |value| match value {
            Value::Texts(texts) => texts.iter().map(|text| parse(text)).collect(),
            _ => None,
        })
    }

    /// A section within this one: `[pools.NAME.KEY]`.
    pub(super) fn section(&self, key: &str, faults: &mut Vec<Fault>) -> Option<&Self> {
        let expected = format!("a section: [{}.{key}]", self.title);
        self.get(key, &expected, faults, |value| match value {
            Value::Section(section) => Some(section),
            _ => None,
        })
    }

    /// true or false.
    pub(super) fn truth(&self, key: &str, faults: &mut Vec<Fault>) -> Option<bool> {
        self.get(key, "true or false", faults, |value| match value {
            Value::Truth(truth) => Some(*truth),
            _ => None,
        })
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, key: &str, within: RangeInclusive<u64>, faults: &mut Vec<Fault>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", within.start(), within.end());
        self.get(key, &expected, faults, |value| match value {
            Value::Whole(number) => within.contains(number).then_some(*number),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        File::parse("keylend.toml", text, &mut faults);
        faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn settings_have_the_names_of_their_variables() {
        let mut faults = Vec::new();
        let text = "listen = \"127.0.0.1:1\"\nmongodb_uri = 'mongodb://h/'\nmax_in_flight = 2_000\nflask_debug = true\n\
                    body_limit = \"64 KiB\"\nrust_log = \"info\"\nlog_file = \"x.log\"\n";
        let file = File::parse("keylend.toml", text, &mut faults);
        assert_eq!(faults, []);
        assert_eq!(file.get("KEYLEND_LISTEN"), Some(("127.0.0.1:1", 1)));
        assert_eq!(file.get("MONGODB_URI"), Some(("mongodb://h/", 2)));
        assert_eq!(file.get("KEYLEND_MAX_IN_FLIGHT"), Some(("2000", 3)));
        assert_eq!(file.get("FLASK_DEBUG"), Some(("true", 4)));
        assert_eq!(file.get("LOG_FILE"), Some(("x.log", 7)));
        assert_eq!(file.get("KEYLEND_DATA"), None);
    }

    #[test]
    fn what_is_unknown_is_told_by_its_line_and_the_nearest_name_but_never_repeated() {
        let told = faults("listn = 'hush'\nhush-hush = 1\nlisten = ['hush']\ntokens = 'hush'\npools = 1\nconfig = 'x'");
        assert_eq!(told.len(), 6, "{told:?}");
        let fault = |line: &str| told.iter().find(|fault| fault.contains(line)).cloned().unwrap();
        assert!(fault("line 1:").contains("did you mean listen?"), "{told:?}");
        assert!(fault("line 2:").contains("there are: mongodb_uri, "), "{told:?}");
        assert!(fault("line 3:").contains("listen must be a text"), "{told:?}");
        assert!(fault("line 4:").contains("[[tokens]]") && fault("line 5:").contains("[pools.NAME]"), "{told:?}");
        assert!(told.iter().all(|fault| !fault.contains("hush")), "{told:?}");
    }

    #[test]
    fn what_is_no_toml_is_told_by_its_line_and_never_repeated() {
        for text in ["\nlisten = hush", "\nlisten = \"hush", "\nlisten = 1\nlisten = \"hush\"", "\n[hush", "\nhush"] {
            let told = faults(text);
            assert!(!told.is_empty(), "{text}");
            assert!(told.iter().all(|fault| fault.contains(" line ") && !fault.contains("hush")), "{told:?}");
        }
    }
}
