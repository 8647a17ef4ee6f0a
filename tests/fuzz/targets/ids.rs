//! What names something: ids of leases, keys and requests, names of pools, places in a list, instants, words.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use keylend::domain::report::Outcome;
use keylend::domain::{
    DisabledReason, EntryId, KeyId, LeaseId, Place, PoolName, RequestId, Role, State, Timestamp, Token,
};

use super::{assert_untold, written_out_text};

/// A name that is taken is the text that it was, and every value is written and read again to the same.
pub fn ids(input: &[u8]) {
    let Some(text) = written_out_text(input) else { return };
    let text = text.as_str();
    one_to_one::<PoolName>(text);
    one_to_one::<KeyId>(text);
    one_to_one::<EntryId>(text);
    one_to_one::<RequestId>(text);
    lease_id(text);
    again::<Place>(text);
    instant(text);
    words(text);
}

/// What a text says; None where it is none, and why is told without it.
fn parsed<T: FromStr<Err: Display + Debug>>(text: &str) -> Option<T> {
    text.parse().map_err(|error: T::Err| assert_untold(&format!("{error} {error:?}"))).ok()
}

fn one_to_one<T: FromStr<Err: Display + Debug> + Display>(text: &str) {
    if let Some(value) = parsed::<T>(text) {
        assert_eq!(value.to_string(), text);
    }
}

fn again<T: FromStr<Err: Display + Debug> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value = parsed::<T>(text)?;
    assert_eq!(parsed::<T>(&value.to_string()).as_ref(), Some(&value), "written as {value}");
    Some(value)
}

fn lease_id(text: &str) {
    let Some(id) = parsed::<LeaseId>(text) else { return };
    assert_eq!(id.expose(), text);
    assert_eq!(id.loggable(), format!("{}.{}", id.pool, id.key));
    assert_eq!(format!("{:?}", id.entry), "EntryId(..)");
    let age = id.entry.age(Timestamp::from_millis(1_767_323_045_678));
    assert!(age.is_none_or(|age| age <= Duration::from_secs(7 * 24 * 3600)), "{age:?}");
}

fn instant(text: &str) {
    if let Some(instant) = again::<Timestamp>(text) {
        assert_eq!(instant.to_string().len(), 24);
        assert_eq!(Token::parse_until(text), Some(instant));
    }
    if let Some(until) = Token::parse_until(text) {
        assert_eq!(Token::parse_until(&until.to_string()), Some(until));
    }
}

fn words(text: &str) {
    assert!(Role::of_word(text).is_none_or(|role| role.as_str() == text));
    assert!(State::of_word(text).is_none_or(|state| state.as_str() == text));
    assert!(DisabledReason::of_word(text).is_none_or(|reason| reason.as_str() == text));
    assert!(parsed::<Outcome>(text).is_none_or(|outcome| outcome.as_str() == text));
}
