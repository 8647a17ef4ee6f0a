//! A secret leaves in the answers that hand it out, and nowhere else: not in the log at its most talkative, not in a
//! problem, stats, or what a command prints; where it is encrypted not in what is stored or copied, and with TLS not on the
//! wire.

use bson::oid::ObjectId;
use bson::{RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use https_client::{Client, Method};
use serde_json::{Value, json};

use crate::place::Place;
use crate::program::{Program, keylend, output};
use crate::tls::{self, Capture};

on_both_stores!(no_secret_leaves_but_where_it_is_handed_out, no_secret_is_stored_or_copied_or_travels_in_the_clear,);

/// The keys for secrets that these tests have, as they are set.
const KEYS: [(&str, &str); 2] = [
    ("KEYLEND_ENCRYPTION_KEYS", "tests:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ("KEYLEND_DIGEST_KEY", "HxAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0="),
];
const ENCRYPT: &str =
    "[pools.stability]\nencrypt = true\n[pools.plantid]\nencrypt = true\n[pools.healthid]\nencrypt = true\n";

/// No two of its characters in a row occur elsewhere.
const SECRET: &str = "qZ7-planted-secret-Xw9";

/// The parts of the secret by which a careless mask would show too much of it.
const PARTS: [&str; 3] = [SECRET, "planted-secret", "7-planted"];

/// The same of what is no text: a file, a document, what passed on a wire.
fn are_clean(what: &str, bytes: &[u8]) {
    for part in PARTS {
        assert!(!bytes.windows(part.len()).any(|piece| piece == part.as_bytes()), "{what} holds the secret");
    }
}

fn is_clean(what: &str, text: &str) {
    let lower = text.to_lowercase();
    for part in PARTS {
        assert!(!text.contains(part), "{what} holds the secret: {text}");
        // Bytes that a library shows are hexadecimal, or numbers in a list.
        let hex: String = part.bytes().map(|byte| format!("{byte:02x}")).collect();
        let list = part.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        assert!(!lower.contains(&hex) && !lower.contains(&list), "{what} holds the secret as bytes: {text}");
    }
}

struct Spy {
    client: Client,
    url: String,
}

impl Spy {
    /// Asks, and checks that the answer and its headers are clean unless the route hands keys out.
    async fn ask(&self, method: Method, path: &str, content_type: &str, body: String, hands_out: bool) -> Value {
        let request = self.client.request(method.clone(), format!("{}{path}", self.url)).body(body);
        // What callers send beside a body is as secret.
        let request = request
            .bearer_auth(SECRET)
            .header("idempotency-key", SECRET)
            .header("x-request-id", format!("{SECRET} {SECRET}"));
        let answer = request.header("content-type", content_type).send().await.unwrap();
        let handed_out = hands_out && answer.status().is_success();
        is_clean("a header", &format!("{:?}", answer.headers()));
        let text = answer.text().await.unwrap();
        if !handed_out {
            is_clean(&format!("{method} {path}"), &text);
        }
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, "application/json", body.to_string(), false).await
    }

    async fn hand_out(&self, path: &str) -> Value {
        let handed_out = self.ask(Method::POST, path, "application/json", String::new(), true).await;
        assert_eq!(handed_out["api_key"], SECRET, "{path}");
        handed_out
    }
}

async fn no_secret_leaves_but_where_it_is_handed_out(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let settings = talkative(&place);
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let spy = Spy { client: Client::new(), url: program.url.clone() };
    let leases = ask_for_all(&spy).await;
    type_all(&folder, &settings);
    end(program, &folder, &leases);
    // What is stored as it is can be found: the looks below would see it.
    assert!(stored(&place).await.windows(SECRET.len()).any(|piece| piece == SECRET.as_bytes()));
}

async fn no_secret_is_stored_or_copied_or_travels_in_the_clear(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keylend.toml"), ENCRYPT).unwrap();
    let mut settings = talkative(&place);
    settings.extend(KEYS.map(|(name, value)| (name, value.to_owned())));
    settings.extend(tls::settings());
    tls::write(&folder, tls::ONE);
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let capture = Capture::start(&program.url);
    let (url, wire) = tls::tapped(&program.url);
    let spy = Spy { client: tls::client(), url };
    let leases = ask_for_all(&spy).await;
    are_clean("the store", &stored(&place).await);
    type_all(&folder, &settings);
    are_clean("the store after all commands", &stored(&place).await);
    if matches!(place, Place::Folder(_)) {
        let made = output(keylend(&folder, &settings, &["backup", "copy.db"]), "");
        assert!(made.status.success(), "{made:?}");
        are_clean("a copy", &std::fs::read(folder.path().join("copy.db")).unwrap());
    }
    // What a key was, an instance with the keys still knows.
    let added = output(keylend(&folder, &settings, &["keys", "add"]), SECRET);
    assert_eq!(String::from_utf8_lossy(&added.stdout), "0 added, 1 known, 0 invalid\n", "{added:?}");
    let captured = capture.map(Capture::end);
    end(program, &folder, &leases);
    are_clean("the store of a server that crashed", &stored(&place).await);
    for (what, bytes) in [("the wire", Some(wire.lock().unwrap().clone())), ("the capture", captured)] {
        let Some(bytes) = bytes else { continue };
        assert!(bytes.len() > 10_000, "{what}: nothing was written down");
        are_clean(what, &bytes);
    }
}

/// Settings under which a program says as much as it can.
fn talkative(place: &Place) -> Vec<(&'static str, String)> {
    let mut settings = place.settings();
    settings.push(("RUST_LOG", "trace".to_owned()));
    settings.push(("RUST_BACKTRACE", "full".to_owned()));
    settings.push(("KEYLEND_AUDIT_FILE", "audit.log".to_owned()));
    settings
}

/// All that is stored, byte by byte.
async fn stored(place: &Place) -> Vec<u8> {
    let mut all = Vec::new();
    match place {
        Place::Folder(folder) => {
            for file in std::fs::read_dir(folder.path()).unwrap() {
                all.extend(std::fs::read(file.unwrap().path()).unwrap());
            }
        }
        Place::Database(database) => {
            let client = ::mongodb::Client::with_uri_str(&database.uri).await.unwrap();
            let database = client.database(&database.name);
            for name in database.list_collection_names().await.unwrap() {
                let found = database.collection::<RawDocumentBuf>(&name).find(doc! {}).await.unwrap();
                let documents: Vec<RawDocumentBuf> = found.try_collect().await.unwrap();
                all.extend(documents.into_iter().flat_map(RawDocumentBuf::into_bytes));
            }
        }
    }
    assert!(all.len() > 500, "nothing is stored");
    all
}

/// Lets a server crash, and looks at all that it wrote.
fn end(program: Program, folder: &tempfile::TempDir, leases: &[String]) {
    program.signal("ABRT");
    let (_, log) = program.ended();
    assert!(log.contains("event=\"started\""));
    is_clean("the log", &log);
    let audit = std::fs::read_to_string(folder.path().join("audit.log")).unwrap();
    assert!(audit.lines().count() > 20, "{audit}");
    is_clean("the audit", &audit);
    for lease in leases {
        let random_part = lease.rsplit('.').next().unwrap();
        assert!(!audit.contains(random_part), "the audit holds a whole lease id");
        assert!(!log.contains(random_part), "the log holds a whole lease id");
    }
}

/// Asks every route, well and badly. Answers the ids of the leases that it got.
async fn ask_for_all(spy: &Spy) -> Vec<String> {
    // Added in every way, well and badly.
    let keys = "/v1/pools/stability/keys";
    let text = format!("{SECRET}\n{SECRET} {SECRET}\n{SECRET}\n");
    spy.ask(Method::POST, keys, "text/plain", text.clone(), false).await;
    spy.ask(Method::POST, keys, "application/x-www-form-urlencoded", text, false).await;
    for body in [
        json!({"api_keys": [SECRET, format!("{SECRET} x")]}),
        json!({"api_keys": {SECRET: SECRET}}),
        json!({SECRET: [SECRET]}),
        json!(SECRET),
    ] {
        spy.post(keys, body).await;
    }
    spy.ask(Method::POST, keys, "application/json", format!("{{\"api_keys\": [\"{SECRET}\""), false).await;

    // Handed out, named, counted, reported.
    spy.hand_out("/v1/pools/stability/find_usable_key").await;
    let mut leases = Vec::new();
    for outcome in ["unused", "used", "rate_limited"] {
        let lease = spy.hand_out("/v1/pools/stability/leases").await;
        leases.push(lease["lease_id"].as_str().unwrap().to_owned());
        let lease = format!("/v1/leases/{}", lease["lease_id"].as_str().unwrap());
        spy.post(&format!("{lease}/renew"), json!({"ttl_seconds": 60})).await;
        spy.post(&format!("{lease}/report"), json!({"outcome": SECRET})).await;
        spy.post(&format!("{lease}/report"), json!({"outcome": outcome, SECRET: 1})).await;
        spy.post(&format!("{lease}/report"), json!({"outcome": outcome, "retry_after_seconds": SECRET})).await;
        spy.post(&format!("{lease}/report"), json!({"outcome": outcome})).await;
    }
    for route in ["increment_usage", "look_up"] {
        for pool in ["stability", "plantid", SECRET] {
            let path = format!("/v1/pools/{pool}/{route}");
            for body in
                [json!({"api_key": SECRET}), json!({"id": SECRET}), json!({"api_key": [SECRET]}), json!([SECRET])]
            {
                spy.post(&path, body).await;
            }
        }
    }
    // What operators do.
    let listed = spy.ask(Method::GET, keys, "", String::new(), false).await;
    let key = format!("{keys}/{}", listed["keys"][0]["id"].as_str().unwrap());
    for body in [
        json!({"api_key": SECRET, "more": 1}),
        json!({"api_key": format!("{SECRET} x")}),
        json!({"api_key": SECRET}),
        json!({SECRET: true}),
    ] {
        spy.ask(Method::PATCH, &key, "application/json", body.to_string(), false).await;
    }
    spy.ask(Method::GET, &key, "", String::new(), false).await;
    let exported = spy.client.get(format!("{}/v1/pools/stability/export", spy.url)).send().await.unwrap();
    let exported = exported.text().await.unwrap();
    assert!(exported.contains(SECRET), "{exported}");
    for lines in [exported.clone(), exported.replace("usage_count", "count"), exported[1..].to_owned()] {
        spy.ask(Method::POST, keys, "application/x-ndjson", lines, false).await;
    }
    spy.post("/v1/pools/stability/reset", json!({"ids": [SECRET]})).await;
    spy.post("/v1/pools/stability/reset", json!({"all": true})).await;
    // Where no secret belongs.
    for (method, path) in [
        (Method::POST, format!("/v1/pools/stability/find_usable_key?max_uses={SECRET}")),
        (Method::POST, format!("/v1/pools/{SECRET}/leases")),
        (Method::POST, format!("/v1/leases/{SECRET}/report")),
        (Method::GET, format!("/v1/leases/{SECRET}/renew")),
        (Method::GET, format!("/{SECRET}")),
        (Method::GET, format!("{keys}?cursor={SECRET}&state={SECRET}")),
        (Method::GET, format!("{keys}/{SECRET}")),
        (Method::DELETE, format!("/v1/leases/{SECRET}")),
        (Method::GET, "/v1/stats".to_owned()),
        (Method::GET, "/v1/pools".to_owned()),
        (Method::GET, "/v1/pools/stability/stats".to_owned()),
        (Method::GET, "/api/stats".to_owned()),
        (Method::GET, "/metrics".to_owned()),
        (Method::GET, "/".to_owned()),
        (Method::GET, "/openapi.json".to_owned()),
        (Method::GET, "/docs".to_owned()),
        (Method::GET, "/docs/swagger-ui.css".to_owned()),
        (Method::GET, "/readyz".to_owned()),
        (Method::POST, "/v1/pools/stability/leases".to_owned()),
    ] {
        spy.ask(method, &path, "application/json", String::new(), false).await;
    }
    // What the page is told as it happens.
    let mut events = spy.client.get(format!("{}/v1/events", spy.url)).send().await.unwrap();
    is_clean("an event", &String::from_utf8_lossy(&events.chunk().await.unwrap().unwrap()));
    leases
}

/// Types every command, well and badly.
fn type_all(folder: &tempfile::TempDir, settings: &[(&'static str, String)]) {
    for (arguments, input) in [
        (&["keys", "add", SECRET][..], ""),
        (&["keys", "add", "a b", SECRET], ""),
        (&["keys", "add", "-"], &format!("{SECRET} {SECRET}\n")),
        (&["keys", "add"], &format!("{SECRET}-2\n")),
        (&["keys", "list"], ""),
        (&["keys", "list", "--json"], ""),
        (&["keys", "find"], ""),
        (&["keys", "find", "--peek", "--json", "--max-uses", "9"], ""),
        (&["stats"], ""),
        (&["stats", "--json"], ""),
        (&["keys", "list", "--pool", SECRET], ""),
        (&["keys", "list", "--credits", "--state", "usable"], ""),
        (&["keys", "list", "--state", "resting", "--json"], ""),
        (&["keys", "show", SECRET], ""),
        (&["keys", "show", "--secret", "-"], SECRET),
        (&["keys", "show", "--secret", "-", "--json"], SECRET),
        (&["keys", "show", "--secret", "-"], &format!("{SECRET} x\n{SECRET}x")),
        (&["keys", "rest", "--secret", "-", "--end"], SECRET),
        (&["keys", "disable", "--secret", "-"], SECRET),
        (&["keys", "enable", "--secret", "-", "--json"], SECRET),
        (&["keys", "reset", "--secret", "-", "--yes"], SECRET),
        (&["keys", "import", "--dry-run", "-"], &format!("{SECRET}\n{SECRET} x\n")),
        (&["keys", "import", "-", "--json"], &format!("{{\"pool\": \"stability\", \"api_key\": \"{SECRET} x\"}}")),
        (&["keys", "remove", "--secret", "-", "--yes"], &format!("{SECRET}x")),
        (&["keys", "reset", "--all"], ""),
        (&["keys", "encrypt"], ""),
        (&["keys", "rotate", "--json"], ""),
        (&["keys", "decrypt", "--pool", SECRET], ""),
        (&["check"], ""),
        (&["check", "--json"], ""),
    ] {
        let done = output(keylend(folder, settings, arguments), input);
        is_clean(&format!("stdout of {arguments:?}"), &String::from_utf8_lossy(&done.stdout));
        is_clean(&format!("stderr of {arguments:?}"), &String::from_utf8_lossy(&done.stderr));
    }
}

#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
#[test]
fn text_that_cannot_be_read_stops_nothing_and_shows_no_secret() {
    crate::run(async {
        let place = Place::mongodb();
        let Place::Database(database) = &place else { unreachable!() };
        let client = ::mongodb::Client::with_uri_str(&database.uri).await.unwrap();
        let keys = client.database(&database.name).collection::<RawDocumentBuf>("stability_api_keys");
        // No UTF-8, where other programs can write: among the leases, in a note, and in a secret.
        for (number, document) in [
            doc! {"api_key": SECRET, "leases": [{"idem": "x", "by": "\u{1}"}]},
            doc! {"api_key": format!("{SECRET}-2"), "note": "\u{1}"},
            doc! {"api_key": format!("{SECRET}-3\u{1}")},
        ]
        .into_iter()
        .enumerate()
        {
            let mut whole =
                doc! {"_id": ObjectId::new(), "usage_count": 0, "is_active": true, "number": number as i32 + 64};
            whole.extend(document);
            let mut bytes = whole.to_vec().unwrap();
            for at in 0..bytes.len() {
                // The text of one character, its length before it; or the end of the third secret.
                if bytes[at..].starts_with(&[1, 0])
                    && at > 4
                    && (bytes[at - 4..at] == [2, 0, 0, 0] || bytes[at - 1] == b'3')
                {
                    bytes[at] = 0xff;
                }
            }
            keys.insert_one(RawDocumentBuf::from_bytes(bytes).unwrap()).await.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let mut settings = place.settings();
        settings.push(("RUST_LOG", "trace".to_owned()));
        let program = Program::serve(keylend(&folder, &settings, &[]));
        let spy = Spy { client: Client::new(), url: program.url.clone() };
        for _ in 0..2 {
            let lease =
                spy.ask(Method::POST, "/v1/pools/stability/leases", "application/json", String::new(), true).await;
            assert!(lease["api_key"].as_str().unwrap().starts_with(SECRET), "{lease}");
            let report = format!("/v1/leases/{}/report", lease["lease_id"].as_str().unwrap());
            let settled = spy.post(&report, json!({"outcome": "used"})).await;
            assert_eq!(settled["usage_count"], 1, "{settled} {}", program.log());
        }
        let listed = output(keylend(&folder, &settings, &["keys", "list", "--json"]), "");
        assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 3, "{listed:?}");
        is_clean("stdout of keys list", &String::from_utf8_lossy(&listed.stdout));
        is_clean("stderr of keys list", &String::from_utf8_lossy(&listed.stderr));
        let (_, log) = program.terminate();
        is_clean("the log", &log);
    });
}
