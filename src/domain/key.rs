//! The key: one secret of a provider, with its count, its leases and its switches.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::hex::{parse_hex, write_hex};
use super::secret::Secret;
use super::timestamp::Timestamp;

/// The largest count that is exact as a double, which other programs write: 2^53.
pub const MAX_USAGE_COUNT: u64 = 1 << 53;

/// The public name of a key, which survives a change of its secret: 24 lower-case hexadecimal digits, an ObjectId on
/// MongoDB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 12]);

/// The text is not 24 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a key id is 24 lower-case hexadecimal digits")]
pub struct InvalidKeyId;

impl KeyId {
    /// The id of these twelve bytes.
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// The twelve bytes of the id.
    pub const fn bytes(self) -> [u8; 12] {
        self.0
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Self).ok_or(InvalidKeyId)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Which key a caller means: by its public id, or by its secret.
#[derive(Clone, Debug)]
pub enum KeyRef {
    /// The key with this id.
    Id(KeyId),
    /// The key with this secret.
    Secret(Secret),
}

/// A stored count. Other programs write it too, so it can be anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UsageCount {
    /// A whole number from 0 to 2^53, in whatever number type it is stored.
    Whole(u64),
    /// A finite number that is no such count: negative, fractional, or larger.
    Odd(f64),
    /// No number at all, or none that is finite: missing, null, text, NaN.
    NotANumber,
}

impl UsageCount {
    /// The count of a stored whole number.
    pub fn from_i64(number: i64) -> Self {
        match u64::try_from(number) {
            Ok(count) if count <= MAX_USAGE_COUNT => Self::Whole(count),
            _ => Self::Odd(number as f64),
        }
    }

    /// The count of a stored double.
    pub fn from_f64(number: f64) -> Self {
        if !number.is_finite() {
            return Self::NotANumber;
        }
        if number.fract() == 0.0 && (0.0..=MAX_USAGE_COUNT as f64).contains(&number) {
            return Self::Whole(number as u64);
        }
        Self::Odd(number)
    }

    /// The count, where it is one that keylend lends by; None otherwise.
    pub const fn whole(self) -> Option<u64> {
        match self {
            Self::Whole(count) => Some(count),
            Self::Odd(_) | Self::NotANumber => None,
        }
    }
}

/// Why a key is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisabledReason {
    /// A report said that the provider rejected it.
    Rejected,
    /// A report said that nothing is left on it.
    Exhausted,
    /// An operator switched it off.
    Operator,
    /// The key file that brought it no longer has it.
    RemovedFromFile,
}

impl DisabledReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Exhausted, Self::Operator, Self::RemovedFromFile];

    /// Whether a report gives it: it is about the secret, and ends with it.
    pub const fn is_of_report(self) -> bool {
        matches!(self, Self::Rejected | Self::Exhausted)
    }

    /// The reason of this word; None for another text.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The stored and shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Operator => "operator",
            Self::RemovedFromFile => "removed_from_file",
        }
    }
}

/// A key as a store holds it. Fields that other programs can write in any shape keep what can be understood.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its public id.
    pub id: KeyId,
    /// Its secret; None where the stored one is missing or is no [`Secret`].
    pub secret: Option<Secret>,
    /// Uses counted.
    pub usage_count: UsageCount,
    /// When it was last handed out or counted; None = never.
    pub last_used: Option<Timestamp>,
    /// Whether the stored switch is exactly true.
    pub is_active: bool,
    /// How many leases are open, lapsed or not; None where the stored leases are no list of keylend's entries.
    pub open_leases: Option<u64>,
    /// When the first of its open leases ends; None without one.
    pub first_lease_ends_at: Option<Timestamp>,
    /// Not handed out before this instant; None = no rest was asked for.
    pub resting_until: Option<Timestamp>,
}

impl Key {
    /// How many uses are neither counted nor out on lease; 0 where the key cannot be understood.
    pub fn left(&self, uses_per_key: u32) -> u64 {
        match (self.usage_count.whole(), self.open_leases) {
            (Some(count), Some(open)) => u64::from(uses_per_key).saturating_sub(count.saturating_add(open)),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_id_is_24_lower_case_hexadecimal_digits() {
        let text = "0123456789abcdef01234567";
        assert_eq!(text.parse::<KeyId>().expect("valid").to_string(), text);
        assert_eq!(format!("{:?}", text.parse::<KeyId>().expect("valid")), format!("KeyId({text})"));
        for bad in [
            "",
            "0123456789abcdef0123456",
            "0123456789abcdef012345678",
            "0123456789ABCDEF01234567",
            "0123456789abcdef0123456g",
            "/123456789abcdef01234567",
            ":123456789abcdef01234567",
            "`123456789abcdef01234567",
        ] {
            assert_eq!(bad.parse::<KeyId>(), Err(InvalidKeyId), "{bad}");
        }
    }

    #[test]
    fn counts_are_whole_numbers_from_0_to_2_to_the_53() {
        let most = MAX_USAGE_COUNT;
        assert_eq!(most, 9_007_199_254_740_992);
        for (count, expected) in [
            (UsageCount::from_i64(0), UsageCount::Whole(0)),
            (UsageCount::from_i64(most as i64), UsageCount::Whole(most)),
            (UsageCount::from_i64(most as i64 + 2), UsageCount::Odd((most + 2) as f64)),
            (UsageCount::from_i64(-1), UsageCount::Odd(-1.0)),
            (UsageCount::from_f64(3.0), UsageCount::Whole(3)),
            (UsageCount::from_f64(-0.0), UsageCount::Whole(0)),
            (UsageCount::from_f64(most as f64), UsageCount::Whole(most)),
            (UsageCount::from_f64((most + 2) as f64), UsageCount::Odd((most + 2) as f64)),
            (UsageCount::from_f64(0.7), UsageCount::Odd(0.7)),
            (UsageCount::from_f64(-2.0), UsageCount::Odd(-2.0)),
            (UsageCount::from_f64(f64::NAN), UsageCount::NotANumber),
            (UsageCount::from_f64(f64::INFINITY), UsageCount::NotANumber),
        ] {
            assert_eq!(count, expected);
        }
        assert_eq!(UsageCount::Whole(7).whole(), Some(7));
        assert_eq!(UsageCount::Odd(0.7).whole(), None);
        assert_eq!(UsageCount::NotANumber.whole(), None);
    }

    #[test]
    fn reasons_are_stored_by_the_words_of_the_document() {
        let words = DisabledReason::ALL.map(DisabledReason::as_str);
        assert_eq!(words, ["rejected", "exhausted", "operator", "removed_from_file"]);
        assert_eq!(DisabledReason::of_word("operator"), Some(DisabledReason::Operator));
        assert_eq!(DisabledReason::of_word("Operator"), None);
        assert_eq!(DisabledReason::ALL.map(DisabledReason::is_of_report), [true, true, false, false]);
    }

    proptest! {
        #[test]
        fn ids_and_their_text_are_one_to_one(bytes: [u8; 12]) {
            let id = KeyId::from_bytes(bytes);
            prop_assert_eq!(id.bytes(), bytes);
            prop_assert_eq!(id.to_string().parse::<KeyId>(), Ok(id));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<KeyId>();
        }
    }
}
