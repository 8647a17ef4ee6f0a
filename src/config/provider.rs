//! `[pools.NAME.verify]` and `[pools.NAME.generate]`: what a pool may ask of those who give its keys.

use std::time::Duration;

use super::Fault;
use super::file::Section;
use crate::domain::provider::{API_KEY, GENERATE_TIMEOUT};
use crate::domain::{Generate, Provider, Verify};

const VERIFY: [&str; 5] = ["url", "header", "credits", "timeout_seconds", "sweep_seconds"];
const GENERATE: [&str; 2] = ["command", "timeout_seconds"];

/// The longest pause between two passes: 31 days.
const LONGEST_SWEEP: u64 = 31 * 24 * 60 * 60;

/// Writes into `provider` what the section of its pool says.
pub(super) fn change(provider: &mut Provider, pool: &Section, faults: &mut Vec<Fault>) {
    let low_water = pool.whole("low_water", 1..=1_000_000, faults).and_then(|keys| u32::try_from(keys).ok());
    provider.low_water = low_water.or(provider.low_water);
    if let Some(section) = pool.section("verify", faults) {
        section.refuse_unknown(&VERIFY, faults);
        provider.verify = verify(provider.verify.take(), section, faults);
    }
    if let Some(section) = pool.section("generate", faults) {
        section.refuse_unknown(&GENERATE, faults);
        provider.generate = generate(section, faults);
    }
}

fn verify(before: Option<Verify>, section: &Section, faults: &mut Vec<Fault>) -> Option<Verify> {
    let expected = "an address: https://.., or http://.. on this machine, for it is sent the keys";
    let url = section.parsed("url", expected, faults, |text| is_safe(text).then(|| text.to_owned()));
    let mut verify = match (before, url) {
        (Some(before), url) => Verify { url: url.unwrap_or(before.url.clone()), ..before },
        (None, Some(url)) => Verify::at(url),
        (None, None) => {
            if !section.has("url") {
                faults.push(section.fault("it needs url: the provider's address that tells whether a key is alive"));
            }
            Verify::at("")
        }
    };
    let expected = format!("a header with {API_KEY} in the key's place, as in \"Authorization: Bearer {API_KEY}\"");
    if let Some((name, template)) = section.parsed("header", &expected, faults, header) {
        (verify.header, verify.template) = (name, template);
    }
    let expected = "the name of a member of the answer, 1 to 100 letters, digits, _ and -";
    if let Some(credits) = section.parsed("credits", expected, faults, |text| is_member(text).then(|| text.to_owned()))
    {
        verify.credits = credits;
    }
    if let Some(seconds) = section.whole("timeout_seconds", 1..=60, faults) {
        verify.timeout = Duration::from_secs(seconds);
    }
    let sweep = section.whole("sweep_seconds", 1..=LONGEST_SWEEP, faults).map(Duration::from_secs);
    verify.sweep = sweep.or(verify.sweep);
    Some(verify)
}

fn generate(section: &Section, faults: &mut Vec<Fault>) -> Option<Generate> {
    let expected = "a list of texts, the program and its arguments";
    let command = section.list("command", expected, faults, |text| (!text.contains('\0')).then(|| text.to_owned()));
    let timeout = section.whole("timeout_seconds", 1..=3600, faults).map_or(GENERATE_TIMEOUT, Duration::from_secs);
    let mut words = command.unwrap_or_default().into_iter();
    match words.next().filter(|program| !program.is_empty()) {
        Some(program) => Some(Generate { program, arguments: words.collect(), timeout }),
        None => {
            faults.push(section.fault("it needs command: the program that prints a key, and its arguments"));
            None
        }
    }
}

/// Whether a key may be sent there: encrypted, or without leaving the machine.
fn is_safe(url: &str) -> bool {
    let is_visible = url.len() <= 2_000 && url.bytes().all(|byte| byte.is_ascii_graphic());
    let authority = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    let is_host = |authority: &str| !authority.is_empty() && !authority.contains('@');
    let is_loopback = |authority: &str| {
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let fits = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => is_host(&authority(rest)),
        (None, Some(rest)) => is_host(&authority(rest)) && is_loopback(&authority(rest)),
        (None, None) => false,
    };
    is_visible && fits
}

/// `Name: value` with the key's place in the value.
fn header(text: &str) -> Option<(String, String)> {
    let (name, template) = text.split_once(':')?;
    let (name, template) = (name.trim(), template.trim());
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_value = template.matches(API_KEY).count() == 1 && template.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (is_name && is_value).then(|| (name.to_owned(), template.to_owned()))
}

fn is_member(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::*;
    use crate::domain::Policy;

    fn pools(text: &str) -> Result<Vec<Policy>, Vec<String>> {
        let mut faults = Vec::new();
        let file = File::parse("keylend.toml", text, &mut faults);
        let pools = super::super::pools::read(&file.pools, &mut faults);
        if faults.is_empty() { Ok(pools) } else { Err(faults.iter().map(Fault::to_string).collect()) }
    }

    #[test]
    fn stability_is_verified_by_its_balance_without_any_configuration() {
        let pools = pools("").expect("valid");
        let verify = pools[0].provider.verify.clone().expect("it is built in");
        assert_eq!(verify.url, "https://api.stability.ai/v1/user/balance");
        assert_eq!((verify.header.as_str(), verify.template.as_str()), ("Authorization", "Bearer {api_key}"));
        assert_eq!((verify.credits.as_str(), verify.sweep), ("credits", None));
        assert!(pools[1..].iter().all(|pool| *pool.provider == Provider::default()));
    }

    #[test]
    fn a_pool_says_how_its_keys_are_verified_and_made() {
        let text = "[pools.stability]\nlow_water = 3\n[pools.stability.verify]\nsweep_seconds = 3600\n\
                    [pools.plantid.verify]\nurl = \"http://127.0.0.1:8/x\"\nheader = \"Api-Key: {api_key}\"\n\
                    credits = \"left\"\ntimeout_seconds = 3\n\
                    [pools.plantid.generate]\ncommand = [\"make-key\", \"--pool\", \"a b\"]\ntimeout_seconds = 9\n";
        let pools = pools(text).expect("valid");
        let [stability, plantid] = [&pools[0].provider, &pools[1].provider];
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(stability.verify, Provider::stability().verify.map(|verify| Verify { sweep: hour, ..verify }));
        assert_eq!((stability.low_water, &stability.generate), (Some(3), &None));
        let expected = Verify {
            header: "Api-Key".to_owned(),
            template: "{api_key}".to_owned(),
            credits: "left".to_owned(),
            timeout: Duration::from_secs(3),
            ..Verify::at("http://127.0.0.1:8/x")
        };
        assert_eq!(plantid.verify, Some(expected));
        let command = plantid.generate.clone().expect("there is one");
        assert_eq!((command.program.as_str(), command.arguments.len(), command.timeout.as_secs()), ("make-key", 2, 9));
    }

    #[test]
    fn every_fault_has_its_line_and_its_way_out() {
        for (text, expected) in [
            ("[pools.plantid.verify]\ntimeout_seconds = 3", "line 1: it needs url"),
            ("[pools.plantid]\nverify = 1", "line 2: verify must be a section: [pools.plantid.verify]"),
            ("[pools.plantid.verify]\nurl = \"http://provider.example/\"", "line 2: url must be an address: https://"),
            ("[pools.plantid.verify]\nurl = \"https://\"", "line 2: url"),
            ("[pools.plantid.verify]\nurl = \"https://user:pass@h/\"", "line 2: url"),
            ("[pools.plantid.verify]\nurl = \"http://127.0.0.1.example/\"", "line 2: url"),
            ("[pools.plantid.verify]\nurl = \"file:///x\"", "line 2: url"),
            (
                "[pools.stability.verify]\nheader = \"Bearer {api_key}\"",
                "line 2: header must be a header with {api_key}",
            ),
            ("[pools.stability.verify]\nheader = \"X: {api_key}{api_key}\"", "line 2: header"),
            ("[pools.stability.verify]\nheader = \"X: y\"", "line 2: header"),
            ("[pools.stability.verify]\nsweep_seconds = 0", "line 2: sweep_seconds"),
            ("[pools.stability.verify]\nurll = \"x\"", "line 2: there is no such name; did you mean url?"),
            ("[pools.stability.generate]\ntimeout_seconds = 3", "line 1: it needs command"),
            ("[pools.stability.generate]\ncommand = []", "line 1: it needs command"),
            ("[pools.stability]\nlow_water = 0", "line 2: low_water must be a whole number"),
        ] {
            let told = pools(text).expect_err(text);
            assert!(told.len() == 1 && told[0].contains(expected), "{text}: {told:?}");
        }
        for safe in ["https://h", "https://h:1/x?y", "http://localhost/x", "http://127.0.0.1:80/", "http://[::1]:1/"] {
            assert!(is_safe(safe), "{safe}");
        }
    }
}
