//! A secret leaves in the answers that hand it out, and nowhere else: not in the log at its most talkative, not in a
//! problem, stats, or what a command prints.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::place::Place;
use crate::program::{Program, keylend, output};

on_both_stores!(no_secret_leaves_but_where_it_is_handed_out);

/// No two of its characters in a row occur elsewhere.
const SECRET: &str = "qZ7-planted-secret-Xw9";

/// The parts of the secret by which a careless mask would show too much of it.
const PARTS: [&str; 3] = [SECRET, "planted-secret", "7-planted"];

fn is_clean(what: &str, text: &str) {
    for part in PARTS {
        assert!(!text.contains(part), "{what} holds the secret: {text}");
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
    let mut settings = place.settings();
    settings.push(("RUST_LOG", "trace".to_owned()));
    let program = Program::serve(keylend(&folder, &settings, &[]));
    let spy = Spy { client: Client::new(), url: program.url.clone() };

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
    // Where no secret belongs.
    for (method, path) in [
        (Method::POST, format!("/v1/pools/stability/find_usable_key?max_uses={SECRET}")),
        (Method::POST, format!("/v1/pools/{SECRET}/leases")),
        (Method::POST, format!("/v1/leases/{SECRET}/report")),
        (Method::GET, format!("/v1/leases/{SECRET}/renew")),
        (Method::GET, format!("/{SECRET}")),
        (Method::GET, "/v1/stats".to_owned()),
        (Method::GET, "/v1/pools".to_owned()),
        (Method::GET, "/v1/pools/stability/stats".to_owned()),
        (Method::GET, "/readyz".to_owned()),
        (Method::POST, "/v1/pools/stability/leases".to_owned()),
    ] {
        spy.ask(method, &path, "application/json", String::new(), false).await;
    }

    for (arguments, input) in [
        (&["keys", "add", SECRET][..], ""),
        (&["keys", "add", "a b", SECRET], ""),
        (&["keys", "add", "-"], &format!("{SECRET} {SECRET}\n")),
        (&["keys", "list"], ""),
        (&["keys", "list", "--json"], ""),
        (&["keys", "find"], ""),
        (&["keys", "find", "--peek", "--json", "--max-uses", "9"], ""),
        (&["stats"], ""),
        (&["stats", "--json"], ""),
        (&["keys", "list", "--pool", SECRET], ""),
    ] {
        let done = output(keylend(&folder, &settings, arguments), input);
        is_clean(&format!("stdout of {arguments:?}"), &String::from_utf8_lossy(&done.stdout));
        is_clean(&format!("stderr of {arguments:?}"), &String::from_utf8_lossy(&done.stderr));
    }
    let (_, log) = program.terminate();
    assert!(log.contains("event=\"started\""));
    is_clean("the log", &log);
    for lease in leases {
        let random_part = lease.rsplit('.').next().unwrap();
        assert!(!log.contains(random_part), "the log holds a whole lease id");
    }
}
