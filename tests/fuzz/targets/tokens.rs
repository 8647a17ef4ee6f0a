//! `KEYLEND_TOKENS`: entries by commas or newlines.

use std::collections::{BTreeSet, HashMap};

use keylend::config::{Flags, Purpose, Settings, Source};
use keylend::domain::{Policy, PoolName, Token, Tokens};

use super::{assert_untold, written_out_text};

/// A list of tokens is read as its entries one by one, and is written and read again to the same.
pub fn tokens(input: &[u8]) {
    let Some(text) = written_out_text(input) else { return };
    let entries: Vec<&str> = text.split([',', '\n']).filter(|entry| !entry.trim().is_empty()).collect();
    let one_by_one: Vec<_> = entries.iter().map(|entry| Token::parse(entry)).collect();
    one_by_one.iter().filter_map(|token| token.as_ref().err()).for_each(|why| assert_untold(&why.to_string()));
    match read(&text) {
        Ok(tokens) => {
            assert_tokens(&tokens, &Policy::built_in());
            let read: Vec<String> = tokens.iter().map(Token::entry).collect();
            let alone: Result<Vec<String>, _> = one_by_one.into_iter().map(|token| token.map(|t| t.entry())).collect();
            assert_eq!(alone.as_ref(), Ok(&read));
            let again = self::read(&read.join(",")).expect("what was written is read");
            assert_eq!(again.iter().map(Token::entry).collect::<Vec<_>>(), read);
        }
        Err(faults) => assert!(!faults.is_empty() && !entries.is_empty()),
    }
}

/// The tokens of a list, as the settings have them; else the faults.
fn read(text: &str) -> Result<Tokens, Vec<String>> {
    let environment = HashMap::from([("KEYLEND_TOKENS".to_owned(), text.to_owned())]);
    let source = Source::new(Flags::default(), environment, HashMap::new(), "");
    match Settings::read(source, Purpose::Command) {
        Ok(settings) => Ok(settings.tokens),
        Err(faults) => {
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            told.iter().for_each(|fault| assert_untold(fault));
            assert!(told.iter().all(|fault| fault.starts_with("KEYLEND_TOKENS: ")), "{told:?}");
            Err(told)
        }
    }
}

/// Tokens that were taken are within their limits, and each is written and read again to the same.
pub(super) fn assert_tokens(tokens: &Tokens, pools: &[Policy]) {
    let mut names = BTreeSet::new();
    for token in tokens.iter() {
        assert!(names.insert(token.name()), "there are two of {}", token.name());
        assert!((1..=64).contains(&token.name().len()) && !token.roles().is_empty());
        let bound = token.pools().map(|pools| pools.iter().collect::<Vec<_>>());
        assert!(bound.as_ref().is_none_or(|bound| !bound.is_empty()));
        let is_there = |name: &PoolName| pools.iter().any(|policy| policy.name == *name);
        assert!(bound.unwrap_or_default().into_iter().all(is_there));
        let entry = token.entry();
        let again = Token::parse(&entry).expect("what was written is read");
        assert_eq!(again.entry(), entry);
        assert_eq!((again.name(), again.roles(), again.pools()), (token.name(), token.roles(), token.pools()));
        assert_eq!(again.ends_at(), token.ends_at());
    }
}
