//! The tokens: the entries of `KEYLEND_TOKENS` and the sections `[[tokens]]`, together.

use std::num::NonZeroU32;

use super::Fault;
use super::file::Section;
use crate::domain::token::TokenDigest;
use crate::domain::{Policy, Role, Token, Tokens};

/// The names in a section of a token.
const NAMES: [&str; 6] = ["name", "roles", "pools", "sha256", "until", "requests_per_second"];

/// All tokens. `entries` is the text of `KEYLEND_TOKENS`, by commas or newlines.
pub(super) fn read(entries: Option<&str>, sections: &[Section], pools: &[Policy], faults: &mut Vec<Fault>) -> Tokens {
    let mut read = Read { tokens: Vec::new(), pools };
    let entries = entries.unwrap_or_default().split([',', '\n']).filter(|entry| !entry.trim().is_empty());
    for (number, entry) in (1..).zip(entries) {
        let fault = |advice: String| Fault::new("KEYLEND_TOKENS", format!("entry {number}: {advice}"));
        match Token::parse(entry) {
            Ok(token) => read.take(token, &fault, faults),
            Err(why) => faults.push(fault(why.to_string())),
        }
    }
    for section in sections {
        let before = faults.len();
        let token = token(section, faults);
        match token {
            Some(token) => read.take(token, &|advice| section.fault(advice), faults),
            None if faults.len() == before => faults.push(section.fault("a token has name, roles and sha256")),
            None => {}
        }
    }
    Tokens::new(read.tokens)
}

/// The token of a section; None where it is none, and `faults` says why unless something is missing.
fn token(section: &Section, faults: &mut Vec<Fault>) -> Option<Token> {
    section.refuse_unknown(&NAMES, faults);
    let name = section.parsed("name", "a text in quotes", faults, |text| Some(text.to_owned()));
    let roles = section.list("roles", "a list of service, stats, admin", faults, Role::of_word);
    let pools = section.list("pools", "a list of names of pools", faults, |pool| pool.parse().ok());
    let digest = "the SHA-256 of the token's text, 64 hexadecimal digits; keylend token new makes one";
    let digest = section.parsed("sha256", digest, faults, TokenDigest::parse);
    let until = "a day, such as \"2026-12-31\", or an instant, such as \"2026-12-31T12:00:00Z\"";
    let until = section.parsed("until", until, faults, Token::parse_until);
    if section.has("until") && until.is_none() {
        // A token that was to end must not go on for ever.
        return None;
    }
    let rate = section.whole("requests_per_second", 1..=1_000_000, faults);
    let rate = rate.and_then(|rate| u32::try_from(rate).ok()).and_then(NonZeroU32::new);
    if section.has("pools") && pools.is_none() {
        // A token that was to be bound must not reach every pool.
        return None;
    }
    match Token::new(&name?, roles?, pools, digest?) {
        Ok(token) => Some(token.until(until).at_most(rate)),
        Err(why) => {
            faults.push(section.fault(why.to_string()));
            None
        }
    }
}

struct Read<'a> {
    tokens: Vec<Token>,
    pools: &'a [Policy],
}

impl Read<'_> {
    /// Takes one more token, where it goes with the others.
    fn take(&mut self, token: Token, fault: &dyn Fn(String) -> Fault, faults: &mut Vec<Fault>) {
        let name = token.name();
        if self.tokens.iter().any(|other| other.name() == name) {
            faults.push(fault(format!("there are two tokens named {name}: give each its own name")));
        }
        // The names are of one shape here, so that they show no secret.
        let missing = |pool: &&str| !self.pools.iter().any(|policy| policy.name.as_str() == *pool);
        let bound = token.pools().unwrap_or_default().iter().map(|pool| pool.as_str());
        for pool in bound.filter(missing) {
            let there = self.pools.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(", ");
            faults.push(fault(format!("token {name} is bound to pool {pool}, which is not there; there are: {there}")));
        }
        self.tokens.push(token);
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::*;

    const SHA: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn tokens(entries: &str, text: &str) -> Result<Vec<String>, Vec<String>> {
        let mut faults = Vec::new();
        let file = File::parse("keylend.toml", text, &mut faults);
        let tokens = read(Some(entries), &file.tokens, &Policy::built_in(), &mut faults);
        if faults.is_empty() {
            Ok(tokens.iter().map(Token::entry).collect())
        } else {
            Err(faults.iter().map(Fault::to_string).collect())
        }
    }

    #[test]
    fn entries_and_sections_are_one_list() {
        let text = format!(
            "[[tokens]]\nname = \"bot\"\nroles = [\"stats\"]\nsha256 = \"{SHA}\"\n\
             [[tokens]]\nname = \"ops\"\nroles = [\"admin\", \"service\"]\npools = [\"plantid\"]\nsha256 = \"{SHA}\"\n\
             [[tokens]]\nname = \"guest\"\nroles = [\"stats\"]\nsha256 = \"{SHA}\"\nuntil = \"2026-12-31\"\n"
        );
        let read = tokens(&format!("web:service:{SHA},\n a:stats@stability+plantid:{SHA} \n\n"), &text).expect("valid");
        let expected = ["web:service", "a:stats@stability+plantid", "bot:stats", "ops:admin+service@plantid"];
        let guest = format!("guest:stats:{SHA}:2026-12-31T23:59:59.999Z");
        let expected: Vec<String> = expected.map(|entry| format!("{entry}:{SHA}")).into_iter().chain([guest]).collect();
        assert_eq!(read, expected);
        assert_eq!(tokens("", ""), Ok(vec![]));
    }

    #[test]
    fn every_fault_of_a_token_has_its_place_and_repeats_no_value() {
        let section = |lines: &str| format!("[[tokens]]\n{lines}");
        for (entries, text, expected) in [
            ("hush", String::new(), "KEYLEND_TOKENS: entry 1: a token is NAME:ROLE"),
            (&format!("a:service:{SHA},b:service:hush"), String::new(), "entry 2: a token is given as the SHA-256"),
            (
                &format!("a:service@nothing:{SHA}"),
                String::new(),
                "pool nothing, which is not there; there are: stability",
            ),
            (&format!("a:service:{SHA}\na:stats:{SHA}"), String::new(), "entry 2: there are two tokens named a"),
            (
                &format!("a:service:{SHA}"),
                section(&format!("name = \"a\"\nroles = [\"stats\"]\nsha256 = \"{SHA}\"")),
                "line 1: there are two tokens named a",
            ),
            ("", section("name = \"a\""), "line 1: a token has name, roles and sha256"),
            (
                "",
                section(&format!("name = \"h u s h\"\nroles = [\"stats\"]\nsha256 = \"{SHA}\"")),
                "line 1: a token's name is",
            ),
            ("", section(&format!("name = \"a\"\nroles = [\"hush\"]\nsha256 = \"{SHA}\"")), "line 3: roles must be"),
            ("", section(&format!("name = \"a\"\nroles = []\nsha256 = \"{SHA}\"")), "line 1: a token's roles are"),
            ("", section("name = \"a\"\nroles = [\"stats\"]\nsha256 = \"hush\""), "line 4: sha256 must be"),
            (
                "",
                section(&format!("name = \"a\"\nroles = [\"stats\"]\npools = [\"HUSH\"]\nsha256 = \"{SHA}\"")),
                "line 4: pools must be",
            ),
            (
                "",
                section(&format!("name = \"a\"\nroles = [\"stats\"]\npools = []\nsha256 = \"{SHA}\"")),
                "line 1: after @ a token names its pools",
            ),
            ("", section("hush = \"hush\""), "line 2: there is no such name; there are: name, roles, pools, sha256"),
        ] {
            let told = tokens(entries, &text).expect_err(expected);
            assert!(told.len() == 1 && told[0].contains(expected), "{expected}: {told:?}");
            assert!(!told[0].to_lowercase().contains("hush"), "{told:?}");
        }
    }
}
