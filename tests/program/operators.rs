//! What an operator does to keys from the command line, on both stores.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{keylend, output};

on_both_stores!(
    keys_are_shown_switched_and_rested,
    counts_are_reset_and_keys_removed_when_that_is_meant,
    keys_are_named_by_their_secrets_too,
    what_the_pool_does_not_have_is_told_and_ends_with_1,
    lists_go_by_state_and_show_the_credits_of_old,
    a_dry_run_adds_nothing_and_says_what_would_be,
    the_first_thousand_invalid_lines_are_told_whatever_else_there_is,
    an_export_is_imported_as_the_same_pool,
);

const SECRETS: [&str; 3] = ["sk-operated-012345-a", "sk-operated-012345-b", "sk-operated-012345-c"];

struct Terminal {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Terminal {
    fn new(place: &Place) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), settings: place.settings() }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let done = output(keylend(&self.folder, &self.settings, arguments), input);
        if !arguments.contains(&"export") {
            let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
            assert!(!said.contains("operated"), "{arguments:?} shows a secret: {said}");
        }
        done
    }

    /// What a command prints, a JSON value a line.
    #[track_caller]
    fn json(&self, code: i32, arguments: &[&str], input: &str) -> Vec<Value> {
        let done = self.run(&[arguments, &["--json"]].concat(), input);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {done:?}");
        let lines = String::from_utf8(done.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A pool with the three secrets; their ids in the order in which they were added.
    fn with_keys(place: &Place) -> (Self, Vec<String>) {
        let terminal = Self::new(place);
        let text = SECRETS.join("\n");
        let ids = SECRETS.map(|secret| {
            let added = terminal.run(&["keys", "add", "-"], secret);
            assert_eq!(added.status.code(), Some(0), "{added:?}");
            let shown = terminal.json(0, &["keys", "show", "--secret", "-"], secret);
            shown[0]["id"].as_str().unwrap().to_owned()
        });
        assert!(!text.is_empty());
        (terminal, ids.to_vec())
    }

    fn key(&self, id: &str) -> Value {
        self.json(0, &["keys", "show", id], "").remove(0)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn keys_are_shown_switched_and_rested(place: Place) {
    let (terminal, ids) = Terminal::with_keys(&place);
    let id = ids[0].as_str();
    let shown = terminal.key(id);
    assert_eq!(
        (&shown["masked"], &shown["usage_count"], &shown["left"]),
        (&json!("sk-op...45-a"), &json!(0), &json!(4))
    );
    assert_eq!((&shown["leases"], &shown["note"], &shown["state"]), (&json!([]), &Value::Null, &json!("usable")));

    let disabled = terminal.json(0, &["keys", "disable", id, &ids[1]], "");
    assert_eq!(disabled.iter().map(|key| &key["state"]).collect::<Vec<_>>(), ["disabled", "disabled"]);
    assert_eq!(terminal.key(id)["disabled_reason"], "operator");
    let enabled = terminal.json(0, &["keys", "enable", id], "");
    assert_eq!((&enabled[0]["state"], &enabled[0]["disabled_reason"]), (&json!("usable"), &Value::Null));

    let rested = terminal.json(0, &["keys", "rest", id, "--for", "10m"], "");
    assert_eq!(rested[0]["state"], "resting");
    let until = rested[0]["resting_until"].clone();
    // A shorter rest does not shorten it; the pool's own is one.
    assert_eq!(terminal.json(0, &["keys", "rest", id], "")[0]["resting_until"], until);
    assert_eq!(terminal.json(0, &["keys", "rest", id, "--end"], "")[0]["state"], "usable");

    // For people: a table, and all that is stored.
    let table = terminal.run(&["keys", "rest", id], "");
    assert!(text(&table.stdout).contains("STATE") && text(&table.stdout).contains("resting"), "{table:?}");
    let shown = text(&terminal.run(&["keys", "show", id, &ids[1]], "").stdout);
    for fact in ["resting_until", "disabled_reason", "operator", "stability", "sk-op...45-b"] {
        assert!(shown.contains(fact), "{fact}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colours where there is no terminal");
    for bad in [&["--for", "0s"][..], &["--for", "400d"], &["--for", "10m", "--end"]] {
        assert_eq!(terminal.run(&[&["keys", "rest", id], bad].concat(), "").status.code(), Some(64), "{bad:?}");
    }
}

async fn counts_are_reset_and_keys_removed_when_that_is_meant(place: Place) {
    let (terminal, ids) = Terminal::with_keys(&place);
    for arguments in [&["keys", "reset", "--all"][..], &["keys", "reset", &ids[0]], &["keys", "remove", &ids[0]]] {
        let refused = terminal.run(arguments, "yes\n");
        assert_eq!(refused.status.code(), Some(64), "{arguments:?}");
        assert_eq!(text(&refused.stderr), "keylend: --yes: needed where nobody can be asked; nothing was changed\n");
    }
    assert_eq!(terminal.run(&["keys", "reset", "--yes"], "").status.code(), Some(64), "no key is named");
    assert_eq!(terminal.json(0, &["keys", "list"], "").len(), 3);

    // Counted by an import of what was exported, with another count.
    let counted = SECRETS.map(|secret| json!({"pool": "plantid", "api_key": secret, "usage_count": 7}).to_string());
    std::fs::write(terminal.folder.path().join("counted.ndjson"), counted.join("\n")).unwrap();
    let plantid = ["--pool", "plantid"];
    let with_pool = |arguments: &[&'static str]| [arguments, &plantid].concat();
    terminal.json(0, &with_pool(&["keys", "import", "counted.ndjson"]), "");
    let counts = || {
        let keys = terminal.json(0, &with_pool(&["keys", "list"]), "");
        keys.iter().map(|key| key["usage_count"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(counts(), [7, 7, 7]);
    let first = terminal.json(0, &with_pool(&["keys", "list"]), "")[0]["id"].as_str().unwrap().to_owned();
    let reset = terminal.json(0, &["keys", "reset", &first, "--yes", "--pool", "plantid"], "");
    assert_eq!(reset, [json!({"reset": 1})]);
    assert_eq!(counts(), [0, 7, 7]);
    assert_eq!(terminal.json(0, &with_pool(&["keys", "reset", "--all", "--yes"]), ""), [json!({"reset": 3})]);
    assert_eq!(counts(), [0, 0, 0]);
    assert_eq!(terminal.json(1, &["keys", "reset", "--all", "--yes", "--pool", "healthid"], ""), [json!({"reset": 0})]);

    assert_eq!(terminal.json(0, &["keys", "remove", "--yes", &ids[0]], ""), [json!({"removed": 1})]);
    assert_eq!(terminal.json(0, &["keys", "list"], "").len(), 2);
}

async fn keys_are_named_by_their_secrets_too(place: Place) {
    let (terminal, ids) = Terminal::with_keys(&place);
    let two = format!("{}\n{}\n", SECRETS[0], SECRETS[2]);
    let disabled = terminal.json(0, &["keys", "disable", "--secret", "-"], &two);
    assert_eq!(disabled.iter().map(|key| &key["id"]).collect::<Vec<_>>(), [&ids[0], &ids[2]]);
    let unknown = terminal.run(&["keys", "enable", "--secret", "-"], "sk-operated-nobodys\n");
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(text(&unknown.stderr), "keylend: line 1: pool stability has no such key\n");
    let wrong = terminal.run(&["keys", "enable", "--secret", "-"], "sk operated\n");
    assert_eq!(wrong.status.code(), Some(64));
}

async fn what_the_pool_does_not_have_is_told_and_ends_with_1(place: Place) {
    let (terminal, ids) = Terminal::with_keys(&place);
    let nobody = "0123456789abcdef01234567";
    for command in ["show", "enable", "disable", "rest"] {
        let done = terminal.run(&["keys", command, nobody, &ids[0], "--json"], "");
        assert_eq!(done.status.code(), Some(1), "{command}");
        assert_eq!(text(&done.stderr), format!("keylend: {nobody}: pool stability has no such key\n"));
        assert_eq!(text(&done.stdout).lines().count(), 1, "{command}: what is there is done");
    }
    for (command, done) in [("reset", json!({"reset": 1})), ("remove", json!({"removed": 1}))] {
        assert_eq!(terminal.json(1, &["keys", command, "--yes", nobody, &ids[0]], ""), [done]);
    }
    // A secret where an id belongs is not repeated.
    for command in ["show", "enable", "disable", "rest", "remove", "reset"] {
        let done = terminal.run(&["keys", command, SECRETS[0], "--pool", "stability"], "");
        assert_eq!(done.status.code(), Some(64), "{command}");
    }
    assert_eq!(terminal.run(&["keys", "show"], "").status.code(), Some(64));
}

async fn lists_go_by_state_and_show_the_credits_of_old(place: Place) {
    let (terminal, ids) = Terminal::with_keys(&place);
    terminal.json(0, &["keys", "disable", &ids[1]], "");
    let listed = terminal.json(0, &["keys", "list", "--state", "disabled", "--credits"], "");
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["id"], &listed[0]["credits"]), (&json!(ids[1]), &json!(25)));
    assert!(terminal.json(0, &["keys", "list"], "").iter().all(|key| key.get("credits").is_none()));
    assert_eq!(terminal.json(0, &["keys", "list", "--state", "usable"], "").len(), 2);
    let none = terminal.run(&["keys", "list", "--state", "spent"], "");
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(text(&none.stderr), "keylend: pool stability has no keys that are spent\n");
    let table = text(&terminal.run(&["keys", "list", "--credits"], "").stdout);
    assert!(table.lines().next().unwrap().contains("CREDITS") && table.contains("25"), "{table}");
    let counts = [0, 24, 26]
        .map(|count| json!({"pool": "plantid", "api_key": format!("sk-operated-{count}"), "usage_count": count}));
    let lines = counts.map(|line| line.to_string()).join("\n");
    terminal.json(0, &["keys", "import", "-", "--pool", "plantid"], &lines);
    let credits = terminal.json(0, &["keys", "list", "--credits", "--pool", "plantid"], "");
    assert_eq!(credits.iter().map(|key| key["credits"].clone()).collect::<Vec<_>>(), [json!(25), json!(1), json!(0)]);
}

async fn a_dry_run_adds_nothing_and_says_what_would_be(place: Place) {
    let (terminal, _) = Terminal::with_keys(&place);
    let lines = format!("{}\nsk-operated-new-0\nsk-operated-new-0\nnot a key\n", SECRETS[0]);
    let done = terminal.run(&["keys", "import", "--dry-run", "-"], &lines);
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(text(&done.stdout), "1 would be added, 2 known, 1 invalid\n");
    assert_eq!(text(&done.stderr), "keylend: line 4 has a character that is not visible ASCII\n");
    assert_eq!(terminal.json(0, &["keys", "list"], "").len(), 3);
    let done = terminal.run(&["keys", "import", "-"], &lines);
    assert_eq!(text(&done.stdout), "1 added, 2 known, 1 invalid\n");
}

async fn the_first_thousand_invalid_lines_are_told_whatever_else_there_is(place: Place) {
    let (terminal, _) = Terminal::with_keys(&place);
    let known = format!("{}\n", SECRETS[0]).repeat(1500);
    let done = terminal.run(&["keys", "import", "-"], &(known + &"not a key\n".repeat(1002)));
    assert_eq!(text(&done.stdout), "0 added, 1500 known, 1002 invalid\n");
    let told = text(&done.stderr);
    assert_eq!(told.lines().count(), 1001);
    assert!(told.starts_with("keylend: line 1501 has") && told.ends_with("keylend: and 2 more\n"), "{told}");
}

async fn an_export_is_imported_as_the_same_pool(place: Place) {
    let (terminal, ids) = Terminal::with_keys(&place);
    terminal.json(0, &["keys", "disable", &ids[1]], "");
    terminal.json(0, &["keys", "find"], "");
    let done = terminal.run(&["keys", "export", "stability.ndjson"], "");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(text(&done.stderr), "keylend: 3 exported, 0 invalid left out\n");
    let file = terminal.folder.path().join("stability.ndjson");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Not written over; and the same on standard output.
    assert_eq!(terminal.run(&["keys", "export", "stability.ndjson"], "").status.code(), Some(2));
    let piped = terminal.run(&["keys", "export", "-"], "");
    assert_eq!(text(&piped.stdout), std::fs::read_to_string(&file).unwrap());
    assert!(SECRETS.iter().all(|secret| text(&piped.stdout).contains(secret)));

    let before = terminal.json(0, &["keys", "list"], "");
    terminal.json(0, &["keys", "remove", "--yes", &ids[0], &ids[1], &ids[2]], "");
    let imported = terminal.json(0, &["keys", "import", "stability.ndjson"], "");
    assert_eq!(imported[0]["added"], 3);
    assert_eq!(terminal.json(0, &["keys", "list"], ""), before);
}
