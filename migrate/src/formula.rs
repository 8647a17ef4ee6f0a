//! The formula: how many uses are gone of these credits. Here as the client knows it; the server's own is
//! `keylend::store::mongodb::credits::used`, and a test holds the two together.

use bson::{Bson, Decimal128};
use keylend::domain::key::MAX_USAGE_COUNT;
use keylend::store::mongodb::credits::{CREDITS, LEAST_CREDITS, MOST_CREDITS};

/// What is in `credits_left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credits {
    /// Nothing: those of a fresh key are meant.
    Missing,
    /// A number, by which so many uses are gone.
    Used(u64),
    /// No number of credits; the text says what it is.
    Odd(&'static str),
}

impl Credits {
    /// The credits in a field.
    pub fn of(field: Option<&Bson>) -> Self {
        let floor = match field {
            None => return Self::Missing,
            Some(Bson::Int32(number)) => i64::from(*number),
            Some(Bson::Int64(number)) => *number,
            Some(Bson::Double(number)) if number.is_nan() => return Self::Odd("NaN"),
            Some(Bson::Double(number)) if number.is_infinite() => return Self::Odd("infinite"),
            // What is outside of i64 becomes its ends, which are out of range as well.
            Some(Bson::Double(number)) => number.floor() as i64,
            Some(Bson::Decimal128(number)) => match floor(number) {
                Ok(floor) => floor,
                Err(what) => return Self::Odd(what),
            },
            Some(other) => return Self::Odd(in_words(other)),
        };
        if !(LEAST_CREDITS..=MOST_CREDITS).contains(&floor) {
            return Self::Odd("a number out of range");
        }
        Self::Used(u64::try_from(CREDITS - floor).unwrap_or(0))
    }

    /// The count that stands for them; None for what are no credits.
    pub const fn used(self) -> Option<u64> {
        match self {
            Self::Missing => Some(0),
            Self::Used(used) => Some(used),
            Self::Odd(_) => None,
        }
    }
}

/// The largest whole number that is not above a decimal one; the ends of i64 for what is outside of them. A decimal
/// just above [`MOST_CREDITS`] counts as one more: it is out of range.
fn floor(number: &Decimal128) -> Result<i64, &'static str> {
    let text = number.to_string();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    match text {
        "NaN" => return Err("NaN"),
        "Infinity" => return Err("infinite"),
        _ => {}
    }
    let (digits, exponent) = text.split_once(['E', 'e']).unwrap_or((text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent;
    let before = usize::try_from(point).unwrap_or(0);
    let has_fraction = digits.bytes().skip(before).any(|digit| digit != b'0');
    let significant = digits.trim_start_matches('0');
    let magnitude = if significant.is_empty() || before == 0 {
        0
    } else if point - (digits.len() - significant.len()) as i64 > 18 {
        i64::MAX - 1
    } else {
        digits
            .bytes()
            .chain(std::iter::repeat(b'0'))
            .take(before)
            .fold(0, |sum: i64, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')))
    };
    let above = i64::from(has_fraction && (negative || magnitude == MOST_CREDITS));
    Ok(if negative { -(magnitude + above) } else { magnitude + above })
}

/// What is in `usage_count`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Count {
    /// Nothing, or null.
    Absent,
    /// A whole number, in whatever type.
    Whole(u64),
    /// A fraction, rounded up.
    Fraction(u64),
    /// Nothing that uses could be counted with; the text says what it is.
    Odd(&'static str),
}

impl Count {
    /// The count in a field.
    pub fn of(field: Option<&Bson>) -> Self {
        let number = match field {
            None | Some(Bson::Null) => return Self::Absent,
            Some(Bson::Int32(number)) => f64::from(*number),
            // Beyond 2^53 it is odd, however it is rounded.
            Some(Bson::Int64(number)) if number.unsigned_abs() > MAX_USAGE_COUNT => {
                return Self::Odd(if *number < 0 { "negative" } else { "a number out of range" });
            }
            Some(Bson::Int64(number)) => *number as f64,
            Some(Bson::Double(number)) => *number,
            Some(other) => return Self::Odd(in_words(other)),
        };
        if number.is_nan() {
            Self::Odd("NaN")
        } else if number < 0.0 {
            Self::Odd("negative")
        } else if number > MAX_USAGE_COUNT as f64 {
            Self::Odd("a number out of range")
        } else if number.fract() == 0.0 {
            Self::Whole(number as u64)
        } else {
            Self::Fraction(number.ceil() as u64)
        }
    }

    /// The whole count; None for anything else.
    pub const fn whole(self) -> Option<u64> {
        match self {
            Self::Whole(count) => Some(count),
            _ => None,
        }
    }
}

/// What a value is that is none of the numbers expected.
pub fn in_words(value: &Bson) -> &'static str {
    match value {
        Bson::Null => "null",
        Bson::Undefined => "undefined",
        Bson::String(_) => "text",
        Bson::Symbol(_) => "a symbol",
        Bson::Document(_) => "a document",
        Bson::Array(_) => "a list",
        Bson::Boolean(_) => "true or false",
        Bson::DateTime(_) => "a date",
        Bson::Timestamp(_) => "a timestamp",
        Bson::ObjectId(_) => "an ObjectId",
        Bson::Binary(_) => "binary data",
        Bson::Decimal128(_) => "a decimal number",
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) => "a number",
        _ => "of another type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Bson {
        Bson::Decimal128(text.parse().expect("a decimal"))
    }

    #[test]
    fn a_use_that_was_started_counts() {
        for (credits, used) in [
            (Bson::Int32(25), 0),
            (Bson::Int32(24), 1),
            (Bson::Int64(0), 25),
            (Bson::Int64(-5), 30),
            (Bson::Int32(30), 0),
            (Bson::Double(24.3), 1),
            (Bson::Double(24.999_999), 1),
            (Bson::Double(1e-20), 25),
            (Bson::Double(-1e-20), 26),
            (Bson::Double(-0.0), 25),
            (decimal("22.4"), 3),
            (decimal("24.9999999999999999999999999999"), 1),
            (decimal("2.5E+1"), 0),
            (decimal("2.45E+1"), 1),
            (decimal("-1E-6000"), 26),
            (decimal("1E-6000"), 25),
            (decimal("-0"), 25),
            (decimal("0E+6000"), 25),
            (decimal("0.000024E+6"), 1),
        ] {
            assert_eq!(Credits::of(Some(&credits)), Credits::Used(used), "{credits}");
        }
        assert_eq!(Credits::of(None).used(), Some(0));
    }

    #[test]
    fn what_are_no_credits_is_said() {
        for (credits, what) in [
            (Bson::Double(f64::NAN), "NaN"),
            (Bson::Double(f64::INFINITY), "infinite"),
            (Bson::Double(-1e300), "a number out of range"),
            (Bson::Int64(i64::MIN), "a number out of range"),
            (Bson::Int64(MOST_CREDITS + 1), "a number out of range"),
            (decimal("9007199254740992.5"), "a number out of range"),
            (decimal("1E+6000"), "a number out of range"),
            (decimal("-Infinity"), "infinite"),
            (decimal("NaN"), "NaN"),
            (Bson::Null, "null"),
            (Bson::String("3".to_owned()), "text"),
            (Bson::Array(vec![]), "a list"),
        ] {
            assert_eq!(Credits::of(Some(&credits)), Credits::Odd(what), "{credits}");
        }
    }

    #[test]
    fn counts_are_whole_fractions_or_odd() {
        for (count, expected) in [
            (None, Count::Absent),
            (Some(Bson::Null), Count::Absent),
            (Some(Bson::Int32(3)), Count::Whole(3)),
            (Some(Bson::Double(3.0)), Count::Whole(3)),
            (Some(Bson::Double(0.7)), Count::Fraction(1)),
            (Some(Bson::Double(-0.7)), Count::Odd("negative")),
            (Some(Bson::Double(f64::NAN)), Count::Odd("NaN")),
            (Some(Bson::Double(f64::INFINITY)), Count::Odd("a number out of range")),
            (Some(Bson::Int64(i64::MIN)), Count::Odd("negative")),
            (Some(Bson::Int64(MOST_CREDITS + 1)), Count::Odd("a number out of range")),
            (Some(decimal("3")), Count::Odd("a decimal number")),
            (Some(Bson::Undefined), Count::Odd("undefined")),
        ] {
            assert_eq!(Count::of(count.as_ref()), expected, "{count:?}");
        }
    }
}
