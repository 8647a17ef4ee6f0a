//! The bodies of requests, each by its own route.

use std::collections::BTreeSet;
use std::time::Duration;

use keylend::domain::key::MAX_USAGE_COUNT;
use keylend::domain::record::MAX_NOTE;
use keylend::domain::report::Effect;
use keylend::domain::{KeyChange, KeyRef, Outcome, Policy, Report, Rest, Secret};
use keylend::http::parsers;
use keylend::wire::admin::{ChangeBody, Reset, ResetBody};
use keylend::wire::keys::AddKeysBody;
use keylend::wire::leases::{LeaseBody, RenewBody, ReportBody};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{assert_secret, assert_untold, member, written_out};

/// A body that is taken says what its JSON says, within all limits, and is written and read again to the same. Of
/// another one the problem says where it is wrong, never what it holds.
pub fn bodies(input: &[u8]) {
    let text = written_out(input);
    lease(&text);
    renew(&text);
    report(&text);
    key_ref(&text);
    add(&text);
    change(&text);
    reset(&text);
}

/// A body in the shape of a route, and its JSON; None where it has another one.
fn read<T: DeserializeOwned>(text: &[u8], expected: &str, names: &[&str]) -> Option<(T, Value)> {
    let body = parsers::body(text, expected).map_err(|problem| assert_problem(&problem)).ok()?;
    Some((body, said(text, names)))
}

/// The JSON of a body that was taken: an object of these names and no others.
fn said(text: &[u8], names: &[&str]) -> Value {
    let said: Value = serde_json::from_slice(text).expect("what was read is JSON");
    let there = said.as_object().expect("what was read is an object");
    assert!(there.keys().all(|name| names.contains(&name.as_str())), "{:?}", there.keys().collect::<Vec<_>>());
    said
}

fn assert_problem(problem: &str) {
    assert_untold(problem);
    let problem: Value = serde_json::from_str(problem).expect("a problem is JSON");
    assert_eq!((&problem["code"], &problem["status"]), (&json!("invalid_request"), &json!(400)));
}

/// The same body again, written from what it says.
fn written<T: DeserializeOwned>(body: &Value) -> T {
    parsers::body(body.to_string().as_bytes(), "").expect("what was written is read")
}

/// The whole number of a member, however it is written.
fn whole(said: &Value, name: &str) -> Option<u64> {
    let number = member(said, name)?;
    let whole = number.as_u64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as u64));
    assert!(whole.is_some_and(|whole| whole <= MAX_USAGE_COUNT), "{number}");
    whole
}

fn assert_ttl(ttl: Duration, said: &Value) {
    assert!((1..=3600).contains(&ttl.as_secs()) && ttl.subsec_nanos() == 0, "{ttl:?}");
    assert_eq!(Some(ttl.as_secs()), whole(said, "ttl_seconds"));
}

fn lease(text: &[u8]) {
    let Some((body, said)) = read::<LeaseBody>(text, LeaseBody::EXPECTED, &["ttl_seconds"]) else { return };
    match body.ttl() {
        Ok(None) => assert_eq!(member(&said, "ttl_seconds"), None),
        Ok(Some(ttl)) => {
            assert_ttl(ttl, &said);
            assert_eq!(written::<LeaseBody>(&json!({"ttl_seconds": ttl.as_secs()})).ttl(), Ok(Some(ttl)));
        }
        Err(error) => {
            assert_untold(&error.to_string());
            assert!(whole(&said, "ttl_seconds").is_some_and(|ttl| !(1..=3600).contains(&ttl)), "{said}");
        }
    }
}

fn renew(text: &[u8]) {
    let Some((body, said)) = read::<RenewBody>(text, RenewBody::EXPECTED, &["ttl_seconds"]) else { return };
    match body.ttl() {
        Ok(ttl) => {
            assert_ttl(ttl, &said);
            assert_eq!(written::<RenewBody>(&json!({"ttl_seconds": ttl.as_secs()})).ttl(), Ok(ttl));
        }
        Err(_) => assert!(whole(&said, "ttl_seconds").is_some_and(|ttl| !(1..=3600).contains(&ttl)), "{said}"),
    }
}

fn report(text: &[u8]) {
    let names = ["outcome", "retry_after_seconds"];
    let Some((body, said)) = read::<ReportBody>(text, ReportBody::EXPECTED, &names) else { return };
    let report = match body.report() {
        Ok(report) => report,
        Err(error) => return assert_untold(&error.to_string()),
    };
    assert_eq!(said["outcome"].as_str(), Some(report.outcome().as_str()));
    let hint = whole(&said, "retry_after_seconds").map(Duration::from_secs);
    assert_eq!(Report::new(report.outcome(), hint), Ok(report));
    let [policy, ..] = Policy::built_in();
    match report.effect(&policy) {
        Effect::Rest(rest) => assert!(report.outcome() == Outcome::RateLimited && rest <= policy.rest_cap),
        _ => assert_eq!(hint, None),
    }
    let seconds = hint.map(|hint| hint.as_secs());
    let again = json!({"outcome": report.outcome().as_str(), "retry_after_seconds": seconds});
    assert_eq!(written::<ReportBody>(&again).report(), Ok(report));
}

fn key_ref(text: &[u8]) {
    let key = match parsers::key_ref(text) {
        Ok(key) => key,
        Err(problem) => return assert_problem(&problem),
    };
    let said = said(text, &["api_key", "id"]);
    assert!(member(&said, "api_key").is_some() != member(&said, "id").is_some(), "{said}");
    match key {
        KeyRef::Secret(secret) => {
            assert_secret(&secret);
            assert_eq!(said["api_key"], json!(secret.expose()));
        }
        KeyRef::Id(id) => assert_eq!(said["id"], json!(id.to_string())),
    }
}

fn add(text: &[u8]) {
    let Some((body, said)) = read::<AddKeysBody>(text, AddKeysBody::EXPECTED, &["api_keys"]) else { return };
    assert_eq!(said["api_keys"], json!(body.api_keys));
    for api_key in &body.api_keys {
        match Secret::parse(api_key) {
            Ok(secret) => assert_secret(&secret),
            Err(why) => assert_untold(&why.to_string()),
        }
    }
    assert_eq!(written::<AddKeysBody>(&said).api_keys, body.api_keys);
}

fn change(text: &[u8]) {
    let names = ["is_active", "usage_count", "resting_until", "note", "api_key"];
    let Some((body, said)) = read::<ChangeBody>(text, ChangeBody::EXPECTED, &names) else { return };
    let Some(change) = body.change() else { return };
    assert!(!change.is_empty());
    assert_untold(&format!("{:?}", KeyChange { note: None, ..change.clone() }));
    let changed = as_body(&change);
    assert_eq!(changed.as_object().map(serde_json::Map::len), said.as_object().map(serde_json::Map::len));
    let again = written::<ChangeBody>(&changed).change().expect("what was written is read");
    assert_eq!(as_body(&again), changed);
    if let Some(secret) = &change.secret {
        assert_secret(secret);
        assert_eq!(said["api_key"], json!(secret.expose()));
    }
    assert_eq!(change.usage_count, whole(&said, "usage_count"));
    assert_eq!(change.is_active, member(&said, "is_active").and_then(Value::as_bool));
    assert!(matches!(change.rest, None | Some(Rest::End)));
    if let Some(note) = &change.note {
        assert_eq!(said["note"], json!(note));
        assert!(note.as_ref().is_none_or(|note| note.chars().count() <= MAX_NOTE));
    }
}

fn as_body(change: &KeyChange) -> Value {
    let named = [
        ("is_active", change.is_active.map(Value::from)),
        ("usage_count", change.usage_count.map(Value::from)),
        ("resting_until", change.rest.map(|_| Value::Null)),
        ("note", change.note.as_ref().map(|note| json!(note))),
        ("api_key", change.secret.as_ref().map(|secret| json!(secret.expose()))),
    ];
    named
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn reset(text: &[u8]) {
    let Some((body, said)) = read::<ResetBody>(text, ResetBody::EXPECTED, &["ids", "all"]) else { return };
    match body.reset() {
        None => {}
        Some(Reset::All) => assert_eq!(said, json!({"all": true})),
        Some(Reset::Ids(ids)) => {
            assert!((1..=1000).contains(&ids.len()) && ids.is_sorted());
            let texts: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
            assert_eq!(texts.len(), ids.len(), "one is there twice");
            let named = said["ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
            assert_eq!(texts, named.map(str::to_owned).collect());
            let again = written::<ResetBody>(&json!({"ids": texts})).reset();
            assert!(matches!(again, Some(Reset::Ids(again)) if again == ids));
        }
    }
}
