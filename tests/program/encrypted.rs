//! Secrets at rest: pools are encrypted, rotated and decrypted beside a running server, by commands that can be stopped.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::Place;
use crate::program::{PATIENCE, Program, keylend, output, tells};

on_both_stores!(
    a_pool_is_encrypted_rotated_and_decrypted_beside_a_running_server,
    a_command_that_was_killed_goes_on_when_it_is_typed_again,
    what_is_stored_holds_no_key,
);

const A: &str = "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const B: &str = "b:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const DIGEST: &str = "HxAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0=";

/// A folder whose programs encrypt, or do not, with these keys.
struct Machine {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Machine {
    fn new(place: &Place, keys: &str, encrypt: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keylend.toml"), format!("[pools.stability]\nencrypt = {encrypt}\n"))
            .unwrap();
        let mut settings = place.settings();
        if !keys.is_empty() {
            settings.push(("KEYLEND_ENCRYPTION_KEYS", keys.to_owned()));
            settings.push(("KEYLEND_DIGEST_KEY", DIGEST.to_owned()));
        }
        Self { folder, settings }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        keylend(&self.folder, &self.settings, arguments)
    }

    fn serve(&self) -> Program {
        Program::serve(self.command(&[]))
    }

    fn run(&self, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        let done = output(self.command(arguments), input);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    }

    /// How many keys `check` says are encrypted, by key, and the commands that it names.
    fn check(&self) -> (Value, Vec<String>) {
        let (_, told, _) = self.run(&["check", "--json"], "");
        let plan: Value = serde_json::from_str(&told).unwrap();
        let next = plan["next"].as_array().unwrap().iter().map(|next| next.as_str().unwrap().to_owned());
        (plan["pools"][0]["encrypted"].clone(), next.collect())
    }
}

fn secrets(number: usize) -> String {
    (0..number).map(|n| format!("sk-planted-{n:05}\n")).collect()
}

async fn lease_and_report(client: &Client, url: &str) -> Option<String> {
    let lease = client.post(format!("{url}/v1/pools/stability/leases")).send().await.unwrap();
    if lease.status() != 201 {
        return None;
    }
    let lease: Value = lease.json().await.unwrap();
    let report = format!("{url}/v1/leases/{}/report", lease["lease_id"].as_str().unwrap());
    let reported = client.post(report).json(&json!({"outcome": "used"})).send().await.unwrap();
    assert_eq!(reported.status(), 200);
    Some(lease["api_key"].as_str().unwrap().to_owned())
}

async fn a_pool_is_encrypted_rotated_and_decrypted_beside_a_running_server(place: Place) {
    let plain = Machine::new(&place, "", false);
    assert_eq!(plain.run(&["keys", "add"], &secrets(40)).1, "40 added, 0 known, 0 invalid\n");
    let (first, second) = (Machine::new(&place, A, true), Machine::new(&place, &format!("{B},{A}"), true));
    let (code, _, said) = plain.run(&["keys", "encrypt"], "");
    assert!(code == Some(64) && said.contains("KEYLEND_ENCRYPTION_KEYS: set it"), "{said}");
    // The server knows both keys before one of them is encrypted with.
    let server = Machine::new(&place, &format!("{A},{B}"), true).serve();
    let (client, url) = (Client::new(), server.url.clone());
    let lending = tokio::spawn(async move {
        let mut lent = 0;
        while let Some(secret) = lease_and_report(&client, &url).await {
            assert!(secret.starts_with("sk-planted-"), "{secret}");
            lent += 1;
        }
        lent
    });
    assert_eq!(first.check().1[0], "keylend keys encrypt --pool stability");
    let run = |machine: &Machine, act: &str| machine.run(&["keys", act], "");
    let done = |changed: u64, others: u64| {
        (Some(0), format!("{changed} changed, {others} as they were, 0 failed\n"), String::new())
    };
    assert_eq!(run(&first, "encrypt"), done(40, 0));
    assert_eq!(run(&first, "encrypt"), done(0, 40));
    assert_eq!(run(&first, "encrypt"), done(0, 40));
    // Nor is what they were left in the file, or beside it.
    if let Place::Folder(folder) = &place {
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let (path, planted) = (file.unwrap().path(), b"sk-planted");
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(planted.len()).any(|piece| piece == planted), "{}", path.display());
        }
    }
    assert_eq!(first.check(), (json!({"a": 40}), vec!["keylend".to_owned()]));
    assert_eq!(second.check().1[0], "keylend keys rotate --pool stability");
    assert_eq!(run(&second, "rotate"), done(40, 0));
    assert_eq!(run(&second, "rotate"), done(0, 40));
    assert_eq!(second.check().0, json!({"b": 40}));
    let (code, _, said) = run(&first, "decrypt");
    assert!(code == Some(64) && said.contains("pool stability: take encrypt = true away"), "{said}");
    let back = Machine::new(&place, &format!("{B},{A}"), false);
    let (code, _, said) = run(&back, "encrypt");
    assert!(code == Some(64) && said.contains("pool stability: set encrypt = true"), "{said}");
    assert_eq!(back.check().1[0], "keylend keys decrypt --pool stability");
    assert_eq!(run(&back, "decrypt"), done(40, 0));
    assert_eq!(plain.check(), (json!({}), vec!["keylend".to_owned()]));
    // Not one use was lost or lent twice meanwhile.
    assert_eq!(lending.await.unwrap(), 160);
    let (_, told, _) = plain.run(&["stats", "--json"], "");
    let stats: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(stats["pools"][0]["uses"], json!({"counted": 160, "leased": 0, "left": 0}), "{told}");
    assert!(server.terminate().0.success());
}

async fn a_command_that_was_killed_goes_on_when_it_is_typed_again(place: Place) {
    const KEYS: usize = 1_500;
    let machine = Machine::new(&place, A, true);
    let plain = Machine::new(&place, "", false);
    assert_eq!(plain.run(&["keys", "add"], &secrets(KEYS)).0, Some(0));
    let encrypted = || machine.check().0["a"].as_u64().unwrap_or(0);
    let mut killed = 0;
    let deadline = Instant::now() + PATIENCE;
    while encrypted() < KEYS as u64 && killed < 2 {
        let before = encrypted();
        let mut child =
            Killed(machine.command(&["keys", "encrypt"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        while encrypted() == before && child.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "nothing is encrypted");
        }
        drop(child);
        killed += 1;
    }
    let (code, told, said) = machine.run(&["keys", "encrypt"], "");
    assert!(code == Some(0) && told.ends_with(" 0 failed\n"), "{told} {said}");
    assert_eq!(encrypted(), KEYS as u64);
    let (_, exported, _) = machine.run(&["keys", "export"], "");
    let mut exported: Vec<String> = exported
        .lines()
        .filter_map(|line| Some(serde_json::from_str::<Value>(line).unwrap()["api_key"].as_str()?.to_owned()))
        .collect();
    exported.sort();
    assert_eq!(exported.join("\n") + "\n", secrets(KEYS));
}

/// A command that is killed, whatever becomes of the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn what_is_stored_holds_no_key(place: Place) {
    let machine = Machine::new(&place, A, true);
    let server = machine.serve();
    let client = Client::new();
    let added = client.post(format!("{}/v1/pools/stability/keys", server.url));
    assert_eq!(added.json(&json!({"api_keys": ["sk-planted-0123456789"]})).send().await.unwrap().status(), 200);
    assert_eq!(lease_and_report(&client, &server.url).await.as_deref(), Some("sk-planted-0123456789"));
    // Who has no keys can do nothing with it, and is told why.
    let without = Machine::new(&place, "", false);
    let (code, told, said) = without.run(&["keys", "list"], "");
    assert!(
        code == Some(2) && told.is_empty() && said.contains("set KEYLEND_ENCRYPTION_KEYS and KEYLEND_DIGEST_KEY"),
        "{said}"
    );
    let (code, told, _) = without.run(&["check"], "");
    assert!(code == Some(1) && told.contains("set KEYLEND_ENCRYPTION_KEYS and KEYLEND_DIGEST_KEY"), "{told}");
    let (_, told, _) = machine.run(&["keys", "list", "--json"], "");
    let listed: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&listed["state"], &listed["masked"]), (&json!("usable"), &json!("sk-pl...6789")), "{told}");
    let (code, told, said) = machine.run(&["keys", "show", listed["id"].as_str().unwrap()], "");
    assert!(code == Some(0) && told.contains("encrypted by"), "{told} {said}");
    assert!(server.terminate().0.success());
}

#[test]
fn what_keys_were_is_left_nowhere_once_they_are_encrypted() {
    crate::run(async {
        let place = Place::sqlite();
        let Place::Folder(folder) = &place else { unreachable!() };
        let plain = Machine::new(&place, "", false);
        // Enough for pages to be split and put in order, and some that are removed again.
        assert_eq!(plain.run(&["keys", "add"], &secrets(3_000)).0, Some(0));
        let (_, listed, _) = plain.run(&["keys", "list", "--json"], "");
        let ids = listed
            .lines()
            .take(200)
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned());
        let ids: Vec<String> = ids.collect();
        let remove: Vec<&str> = ["keys", "remove", "--yes"].into_iter().chain(ids.iter().map(String::as_str)).collect();
        assert_eq!(plain.run(&remove, "").0, Some(0));
        let machine = Machine::new(&place, A, true);
        let server = machine.serve();
        assert_eq!(machine.run(&["keys", "encrypt"], "").1, "2800 changed, 0 as they were, 0 failed\n");
        assert_eq!(machine.run(&["backup", folder.path().join("copy.db").to_str().unwrap()], "").0, Some(0));
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        let found: Vec<_> = files
            .map(|path| {
                (std::fs::read(&path).unwrap().windows(11).filter(|piece| piece == b"sk-planted-").count(), path)
            })
            .collect();
        assert!(found.len() >= 3 && found.iter().all(|(hits, _)| *hits == 0), "{found:?}");
        assert!(lease_and_report(&Client::new(), &server.url).await.is_some());
        assert!(server.terminate().0.success());
    });
}

#[test]
fn a_key_that_does_not_decrypt_is_told_of_and_not_lent() {
    crate::run(async {
        let place = Place::sqlite();
        let Place::Folder(folder) = &place else { unreachable!() };
        let machine = Machine::new(&place, A, true);
        machine.run(&["keys", "add"], &secrets(2));
        let file = rusqlite::Connection::open(folder.path().join("keylend.db")).unwrap();
        let first = "SELECT min(id) FROM stability_api_keys";
        let spoil = format!("UPDATE stability_api_keys SET sealed = zeroblob(57) WHERE id = ({first})");
        assert_eq!(file.execute(&spoil, []).unwrap(), 1);
        let id: String = file.query_row(first, [], |row| row.get(0)).unwrap();
        let mut server = machine.serve();
        let client = Client::new();
        let mut lent = 0;
        while let Some(secret) = lease_and_report(&client, &server.url).await {
            assert_eq!(secret, "sk-planted-00001");
            lent += 1;
        }
        assert_eq!(lent, 4);
        let told = server.wait_for(|log| log.lines().find(|line| tells(line, "key_unreadable")).map(str::to_owned));
        assert!(told.contains(&id) && told.contains("does not decrypt"), "{told}");
        let (code, told, said) = machine.run(&["keys", "rotate"], "");
        assert_eq!((code, told.as_str()), (Some(1), "0 changed, 1 as they were, 1 failed\n"), "{said}");
        let (code, told, _) = machine.run(&["check"], "");
        assert!(code == Some(1) && told.contains(&format!("{id}: api_key: it does not decrypt")), "{told}");
        let (code, _, said) = Machine::new(&place, &format!("{B},{A}"), true).run(&["keys", "rotate"], "");
        assert!(code == Some(1) && said.contains(&format!("{id}: it does not decrypt")), "{said}");
        let (_, said) = server.terminate();
        assert!(!said.contains("sk-planted"), "{said}");
    });
}

#[test]
fn another_key_under_a_known_name_serves_nothing() {
    crate::run(async {
        let place = Place::sqlite();
        assert_eq!(Machine::new(&place, A, true).run(&["keys", "add"], &secrets(1)).0, Some(0));
        let other = Machine::new(&place, &B.replace("b:", "a:"), true);
        let (code, _, said) = other.run(&["keys", "list"], "");
        assert!(code == Some(2) && said.contains("KEYLEND_ENCRYPTION_KEYS: a is another key"), "{said}");
        let mut server = Program::start(other.command(&[]), "settings_read");
        server.wait_for(|log| log.contains("a is another key than the one that the store knows").then_some(()));
        let asked = Client::new().post(format!("{}/v1/pools/stability/leases", server.url)).send().await.unwrap();
        assert_eq!(asked.status(), 503);
    });
}
