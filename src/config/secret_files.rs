//! The `_FILE` form of each secret setting: it names a file that holds the value, as orchestrators hand secrets over.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Fault;

/// Each secret setting with the one that names its file.
pub(super) const SECRETS: [(&str, &str); 7] = [
    ("MONGODB_URI", "MONGODB_URI_FILE"),
    ("MONGO_URI", "MONGO_URI_FILE"),
    ("KEYLEND_TOKENS", "KEYLEND_TOKENS_FILE"),
    ("KEYLEND_ENCRYPTION_KEYS", "KEYLEND_ENCRYPTION_KEYS_FILE"),
    ("KEYLEND_DIGEST_KEY", "KEYLEND_DIGEST_KEY_FILE"),
    ("STATS_TOKEN", "STATS_TOKEN_FILE"),
    ("DISCORD_BOT_TOKEN", "DISCORD_BOT_TOKEN_FILE"),
];

/// The largest file that is read: thousands of tokens.
const LARGEST: u64 = 1024 * 1024;

/// At one place: puts the values of files in the places of their settings.
pub(super) fn resolve(variables: &mut HashMap<String, String>, folder: &Path, faults: &mut Vec<Fault>) {
    for (setting, named) in SECRETS {
        let value = |name: &str| variables.get(name).filter(|text| !text.trim().is_empty());
        let Some(path) = value(named) else { continue };
        if value(setting).is_some() {
            faults.push(both(setting, named));
            continue;
        }
        match read(&folder.join(path.trim())) {
            Ok(text) => drop(variables.insert(setting.to_owned(), text)),
            Err(advice) => faults.push(Fault::new(named, advice)),
        }
    }
}

/// That a setting stands beside its file at one place.
pub(super) fn both(setting: &str, named: &str) -> Fault {
    Fault::new(named, format!("it is set beside {setting}, at the same place: keep one of them"))
}

/// The text of the file, without the line's end that editors leave.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| {
        format!("the file that it names cannot be read ({}): see to its path and rights", error.kind())
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err("the file that it names is larger than 1 MiB: it is another one".to_owned());
    }
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err("the file that it names is empty".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(variables: &[(&str, &str)], folder: &Path) -> (HashMap<String, String>, Vec<String>) {
        let mut map = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut faults = Vec::new();
        resolve(&mut map, folder, &mut faults);
        (map, faults.iter().map(Fault::to_string).collect())
    }

    #[test]
    fn the_value_is_what_the_file_holds() {
        let folder = tempfile::tempdir().expect("made");
        std::fs::write(folder.path().join("uri"), "mongodb://h/\r\n").expect("written");
        for (setting, named) in SECRETS {
            let (map, faults) = resolved(&[(named, "uri")], folder.path());
            assert_eq!((map[setting].as_str(), faults), ("mongodb://h/", vec![]), "{setting}");
        }
        let (map, faults) = resolved(&[("MONGODB_URI_FILE", " "), ("MONGODB_URI", "here")], folder.path());
        assert_eq!((map["MONGODB_URI"].as_str(), faults), ("here", vec![]));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_and_nothing_of_it() {
        let folder = tempfile::tempdir().expect("made");
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("written");
        write("empty", b"\n");
        write("odd", b"hush\xff");
        write("large", &vec![b'h'; 1024 * 1024 + 1]);
        for (file, expected) in [
            ("missing", "cannot be read (entity not found)"),
            ("", "cannot be read"),
            ("empty", "is empty"),
            ("odd", "cannot be read (invalid data)"),
            ("large", "larger than 1 MiB"),
        ] {
            let path = folder.path().join(file).display().to_string();
            let (map, faults) = resolved(&[("KEYLEND_TOKENS_FILE", path.as_str())], folder.path());
            let told = faults.join("\n");
            assert!(told.starts_with("KEYLEND_TOKENS_FILE: ") && told.contains(expected), "{file}: {told}");
            assert!(!told.contains("hush") && !map.contains_key("KEYLEND_TOKENS"), "{told}");
        }
        let (_, faults) = resolved(&[("STATS_TOKEN", "a"), ("STATS_TOKEN_FILE", "missing")], folder.path());
        assert_eq!(faults, ["STATS_TOKEN_FILE: it is set beside STATS_TOKEN, at the same place: keep one of them"]);
    }
}
