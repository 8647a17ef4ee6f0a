//! Whole numbers as JSON has them: 300 and 300.0 are the same one.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::domain::key::MAX_USAGE_COUNT;

/// A whole number of a request, from 0 to 2^53: beyond that not everybody reads the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole(pub(super) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 to 2^53")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                match number <= MAX_USAGE_COUNT {
                    true => Ok(Whole(number)),
                    false => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                if number.fract() == 0.0 && (0.0..=MAX_USAGE_COUNT as f64).contains(&number) {
                    return Ok(Whole(number as u64));
                }
                Err(E::invalid_value(Unexpected::Float(number), &self))
            }
        }

        deserializer.deserialize_u64(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        let read = |text: &str| serde_json::from_str::<Whole>(text).ok().map(|Whole(number)| number);
        for (text, number) in [("0", 0), ("-0.0", 0), ("300", 300), ("300.0", 300), ("3e2", 300)] {
            assert_eq!(read(text), Some(number), "{text}");
        }
        assert_eq!(read("9007199254740992.0"), Some(MAX_USAGE_COUNT));
        for text in [
            "-1",
            "-1.0",
            "0.5",
            "1e300",
            "18446744073709551616",
            "9007199254740993",
            "9007199254740994.0",
            "\"1\"",
            "null",
            "true",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
