//! `keys export --flask`: the way back to the older server.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::place::Place;
use crate::program_under_test::{keylend, output};

on_both_stores!(the_older_server_gets_what_is_left, what_is_there_is_not_written_over,);

async fn the_older_server_gets_what_is_left(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| output(keylend(&folder, &place.settings(), arguments), input);
    let key = |n: u32, count: u32, is_active: bool| {
        json!({"pool": "plantid", "api_key": format!("plant-{n}"), "usage_count": count, "is_active": is_active})
            .to_string()
    };
    let keys = [key(3, 100, true), key(1, 42, true), key(5, 0, false), key(2, 7, true), key(4, 0, true)].join("\n");
    let imported = run(&["keys", "import", "--pool", "plantid", "-"], &keys);
    assert!(imported.status.success(), "{imported:?}");
    std::fs::create_dir(folder.path().join("old")).unwrap();
    let exported = run(&["keys", "export", "--flask", "old"], "");
    let said = String::from_utf8(exported.stderr).unwrap();
    assert!(exported.status.success() && exported.stdout.is_empty(), "{said}");
    assert!(said.contains("plantid.txt: 3 keys; 2 spent") && said.contains("1 keys after the first"), "{said}");
    let read = |name: &str| {
        let path = folder.path().join("old").join(name);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::read_to_string(path).unwrap()
    };
    assert_eq!((read("plantid.txt").as_str(), read("healthid.txt").as_str()), ("plant-1\nplant-2\nplant-4\n", ""));
    let state: Value = serde_json::from_str(&read("api_state.json")).unwrap();
    assert_eq!(state, json!({"plantid": 42, "healthid": 0}));
}

async fn what_is_there_is_not_written_over(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| output(keylend(&folder, &place.settings(), arguments), "");
    std::fs::write(folder.path().join("api_state.json"), "mine").unwrap();
    let refused = run(&["keys", "export", "--flask", "."]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("api_state.json") && said.contains("nothing was written"), "{said}");
    assert_eq!(std::fs::read_to_string(folder.path().join("api_state.json")).unwrap(), "mine");
    assert!(!folder.path().join("plantid.txt").exists() && !folder.path().join("healthid.txt").exists());
    assert_eq!(run(&["keys", "export", "--flask", "nowhere"]).status.code(), Some(2));
    assert_eq!(run(&["keys", "export", "--flask", ".", "--pool", "plantid"]).status.code(), Some(64));
}
