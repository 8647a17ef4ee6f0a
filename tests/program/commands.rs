use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{keylend, output};

on_both_stores!(keys_are_added_imported_listed_and_found, what_is_not_there_ends_with_1,);

/// A working directory and a store.
struct Terminal {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Terminal {
    fn new(place: &Place) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), settings: place.settings() }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        output(keylend(&self.folder, &self.settings, arguments), input)
    }

    #[track_caller]
    fn says(&self, code: i32, arguments: &[&str]) -> String {
        let done = self.run(arguments, "");
        assert_eq!(done.status.code(), Some(code), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn keys_are_added_imported_listed_and_found(place: Place) {
    let terminal = Terminal::new(&place);
    assert_eq!(text(&terminal.run(&["keys", "add"], "sk-0123456789abcdef").stdout), "1 added, 0 known, 0 invalid\n");
    // Others on the machine see what is given on a command line; it is not repeated either.
    let given = terminal.run(&["keys", "add", "sk-given-0123456789"], "");
    assert_eq!(
        (given.status.code(), text(&given.stderr).contains("others can see them")),
        (Some(64), true),
        "{given:?}"
    );
    assert!(!text(&given.stderr).contains("sk-given"), "{given:?}");
    let piped = terminal.run(&["keys", "add", "-", "--json"], "sk-second-0123456789\nsk-0123456789abcdef\n");
    let summary: Value = serde_json::from_slice(&piped.stdout).unwrap();
    assert_eq!((&summary["added"], &summary["known"]), (&Value::from(1), &Value::from(1)));

    // Without a key it reads what comes, too.
    assert_eq!(text(&terminal.run(&["keys", "add"], "sk-second-0123456789\n").stdout), "0 added, 1 known, 0 invalid\n");

    let file = terminal.folder.path().join("keys.txt");
    std::fs::write(&file, "sk-third-0123456789\r\nnot a key\n\n").unwrap();
    let imported = terminal.run(&["keys", "import", "keys.txt"], "");
    assert_eq!(imported.status.code(), Some(1));
    assert_eq!(text(&imported.stdout), "1 added, 0 known, 1 invalid\n");
    assert_eq!(text(&imported.stderr), "keylend: line 2 has a character that is not visible ASCII\n");

    let listed = terminal.says(0, &["keys", "list"]);
    assert!(listed.contains("sk-01...cdef") && listed.contains("usable") && !listed.contains("0123456789"), "{listed}");
    assert_eq!(listed.lines().count(), 4);
    let listed = terminal.says(0, &["keys", "list", "--json"]);
    let keys: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((keys.len(), &keys[0]["left"], &keys[0]["state"]), (3, &Value::from(4), &Value::from("usable")));

    // Of keys never used the first by id goes first; each find stamps the one it shows.
    let masked = |key: &Value| key["masked"].as_str().unwrap().to_owned();
    let peeked: Value = serde_json::from_str(&terminal.says(0, &["keys", "find", "--peek", "--json"])).unwrap();
    assert_eq!(masked(&peeked), masked(&keys[0]));
    let revealed = terminal.says(0, &["keys", "find", "--peek", "--reveal"]);
    assert_eq!(terminal.says(0, &["keys", "find", "--reveal"]), revealed);
    assert!(["sk-0123456789abcdef\n", "sk-second-0123456789\n", "sk-third-0123456789\n"].contains(&revealed.as_str()));
    assert!(terminal.says(0, &["keys", "find"]).contains(&masked(&keys[1])));
    let found: Value = serde_json::from_str(&terminal.says(0, &["keys", "find", "--json", "--max-uses", "0"])).unwrap();
    assert_eq!(masked(&found), masked(&keys[2]));

    let stats: Value = serde_json::from_str(&terminal.says(0, &["stats", "--json"])).unwrap();
    assert_eq!(stats["pools"][0]["uses"]["left"], 12);
    assert!(terminal.says(0, &["stats"]).contains("stability"));
}

async fn what_is_not_there_ends_with_1(place: Place) {
    let terminal = Terminal::new(&place);
    for arguments in
        [&["keys", "list"][..], &["keys", "find"], &["keys", "find", "--peek"], &["keys", "list", "--json"]]
    {
        assert_eq!(terminal.says(1, arguments), "");
    }
    let unknown = terminal.run(&["keys", "list", "--pool", "nothing"], "");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("stability, plantid, healthid"), "{unknown:?}");
    assert_eq!(terminal.run(&["keys", "import", "missing.txt"], "").status.code(), Some(2));
}

#[test]
fn what_cannot_be_understood_ends_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| output(keylend(&folder, &[], arguments), "").status.code();
    for arguments in [
        &["--nonsense"][..],
        &["keys"],
        &["keys", "find", "--max-uses", "10001"],
        &["keys", "list", "--state", "tired"],
        &["keys", "rest", "x", "--for", "soon"],
        &["token", "new", "web"],
        &["token", "new", "web", "--role", "king"],
        &["completions", "abacus"],
    ] {
        assert_eq!(code(arguments), Some(64), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["keys", "--help"], &["keys", "rest", "--help"]] {
        assert_eq!(code(arguments), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_foreign_or_damaged_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keylend.db");
    let list = || output(keylend(&folder, &[], &["keys", "list"]), "");

    std::fs::write(&path, "my diary\n".repeat(500)).unwrap();
    let refused = list();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("KEYLEND_DATA"), "{refused:?}");
    assert!(std::fs::read(&path).unwrap().starts_with(b"my diary\n"));

    std::fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE diary (entry TEXT)").unwrap();
    let refused = list();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("another program's"), "{refused:?}");

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(list().status.code(), Some(2));
}

#[test]
fn a_program_that_ended_leaves_all_keys_in_the_one_file() {
    let folder = tempfile::tempdir().unwrap();
    output(keylend(&folder, &[], &["keys", "add"]), "sk-0123456789abcdef");
    let names = |folder: &TempDir| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder), ["keylend.db"]);
    // What somebody copies is the whole of it.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("keylend.db"), copy.path().join("keylend.db")).unwrap();
    let listed = output(keylend(&copy, &[], &["keys", "list"]), "");
    assert!(text(&listed.stdout).contains("sk-01...cdef"), "{listed:?}");
}

#[test]
fn the_file_of_the_embedded_store_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    output(keylend(&folder, &[], &["keys", "add"]), "sk-0123456789abcdef");
    let mode = std::fs::metadata(folder.path().join("keylend.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
