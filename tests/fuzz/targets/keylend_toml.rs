//! `keylend.toml`: settings, pools, tokens.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::time::Duration;

use keylend::config::{Flags, Purpose, Settings, Source, StoreSettings};
use keylend::domain::provider::API_KEY;
use keylend::domain::{Generate, Policy, Verify};

use super::tokens::assert_tokens;
use super::{assert_untold, written_out_text};

/// The longest rest, in seconds.
const LONGEST_REST: u64 = 31 * 24 * 60 * 60;

/// What the file says is within all limits, and its pools are written and read again to the same. What is wrong with it
/// is told by its lines, never by what they hold.
pub fn keylend_toml(input: &[u8]) {
    let Some(text) = written_out_text(input) else { return };
    // These settings name files, which are read.
    if ["uri_file", "tokens_file", "token_file"].iter().any(|setting| text.contains(setting)) {
        return;
    }
    match read(&text) {
        Ok(settings) => assert_settings(&settings),
        Err(faults) => {
            assert!(!faults.is_empty());
            let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
            faults.iter().for_each(|fault| assert_placed(fault, lines));
        }
    }
}

/// The settings, else the faults.
fn read(text: &str) -> Result<Settings, Vec<String>> {
    let source = Source::new(Flags::default(), HashMap::new(), HashMap::new(), text);
    let told = |faults: Vec<_>| faults.iter().map(ToString::to_string).collect();
    Settings::read(source, Purpose::Command).map_err(told)
}

/// A fault tells of a line that is there, where it is of one line.
fn assert_placed(fault: &str, lines: usize) {
    assert_untold(fault);
    let line = fault.split_once("keylend.toml line ").map(|(_, rest)| rest);
    let digits = line.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    if let Some(line) = digits.and_then(|digits| digits.parse::<usize>().ok()) {
        assert!((1..=lines).contains(&line), "of {lines} lines: {fault}");
    } else {
        // A certificate without its key is nobody's line.
        assert!(fault.starts_with("KEYLEND_TLS_"), "{fault}");
    }
}

fn assert_settings(settings: &Settings) {
    let limit = Duration::from_millis(100)..=Duration::from_secs(300);
    assert!(limit.contains(&settings.store_timeout) && (1..=100_000).contains(&settings.max_in_flight));
    assert!((1024..=64 * 1024 * 1024).contains(&settings.body_limit));
    if matches!(settings.store, StoreSettings::MongoDb { .. }) {
        let told = |name: &str| settings.told.iter().find(|told| told.setting == name);
        let uri = told("MONGODB_URI").or(told("MONGO_URI")).expect("it is told");
        assert_eq!(uri.value, "(not shown)");
    }
    assert_untold(&format!("{:?} {:?}", settings.store, settings.tokens));
    assert_tokens(&settings.tokens, &settings.pools);
    let built_in = Policy::built_in().map(|policy| policy.name);
    assert!(settings.pools.iter().zip(&built_in).all(|(policy, name)| policy.name == *name));
    let names: BTreeSet<&str> = settings.pools.iter().map(|policy| policy.name.as_str()).collect();
    let collections: BTreeSet<String> =
        settings.pools.iter().map(|policy| policy.collection.to_ascii_lowercase()).collect();
    assert_eq!((names.len(), collections.len()), (settings.pools.len(), settings.pools.len()));
    settings.pools.iter().for_each(assert_policy);
    let written: String = settings.pools.iter().map(written).collect();
    let again = read(&written).unwrap_or_else(|faults| panic!("{faults:?}\n{written}"));
    assert_eq!(again.pools, settings.pools);
}

fn assert_policy(policy: &Policy) {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    assert!((1..=100).contains(&policy.collection.len()) && policy.collection.bytes().all(is_name));
    assert!((1..=10_000).contains(&policy.uses_per_key));
    let seconds = |duration: Duration, longest: u64| (1..=longest).contains(&duration.as_secs());
    assert!(seconds(policy.lease_ttl, 3600) && seconds(policy.rest_cap, LONGEST_REST));
    assert!(seconds(policy.rest, LONGEST_REST) && policy.rest <= policy.rest_cap);
    assert!(policy.provider.low_water.is_none_or(|keys| (1..=1_000_000).contains(&keys)));
    if let Some(Verify { url, header, template, credits, timeout, sweep }) = &policy.provider.verify {
        // A key is sent there: encrypted, or within this machine.
        let rest = url.strip_prefix("https://").or(url.strip_prefix("http://")).expect("an address");
        assert!(!rest.is_empty() && url.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
        let own = ["http://127.", "http://localhost", "http://[::1]", "http://[0"];
        assert!(url.starts_with("https://") || own.iter().any(|own| url.starts_with(own)), "{url}");
        assert!(!header.is_empty() && template.matches(API_KEY).count() == 1 && !credits.is_empty());
        assert!(seconds(*timeout, 60) && sweep.is_none_or(|sweep| seconds(sweep, LONGEST_REST)));
    }
    if let Some(Generate { program, arguments, timeout }) = &policy.provider.generate {
        assert!(!program.is_empty() && !program.contains('\0') && arguments.iter().all(|word| !word.contains('\0')));
        assert!(seconds(*timeout, 3600));
    }
}

/// The section of a pool, with all that it has.
fn written(policy: &Policy) -> String {
    let name = &policy.name;
    let mut text = format!("[pools.{name}]\n");
    let mut line = |name: &str, value: String| writeln!(text, "{name} = {value}").expect("a text takes it");
    line("collection", quoted(&policy.collection));
    line("picks", quoted(policy.picks.as_str()));
    line("uses_per_key", policy.uses_per_key.to_string());
    line("lapsed", quoted(policy.lapsed.as_str()));
    line("lease_ttl_seconds", policy.lease_ttl.as_secs().to_string());
    line("rest_seconds", policy.rest.as_secs().to_string());
    line("rest_cap_seconds", policy.rest_cap.as_secs().to_string());
    if let Some(keys) = policy.provider.low_water {
        line("low_water", keys.to_string());
    }
    if let Some(verify) = &policy.provider.verify {
        line("verify.url", quoted(&verify.url));
        line("verify.header", quoted(&format!("{}: {}", verify.header, verify.template)));
        line("verify.credits", quoted(&verify.credits));
        line("verify.timeout_seconds", verify.timeout.as_secs().to_string());
        if let Some(sweep) = verify.sweep {
            line("verify.sweep_seconds", sweep.as_secs().to_string());
        }
    }
    if let Some(generate) = &policy.provider.generate {
        let words = std::iter::once(&generate.program).chain(&generate.arguments).map(|word| quoted(word));
        line("generate.command", format!("[{}]", words.collect::<Vec<_>>().join(", ")));
        line("generate.timeout_seconds", generate.timeout.as_secs().to_string());
    }
    text
}

/// A text as TOML has it, each character by its number: none has a meaning of its own then.
fn quoted(text: &str) -> String {
    let characters: String = text.chars().map(|character| format!("\\U{:08X}", u32::from(character))).collect();
    format!("\"{characters}\"")
}
