//! Instants are RFC 3339 in UTC, with milliseconds.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{Timestamp, UsageCount};

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A whole count is an integer; another number that somebody left is shown as it is, anything else as null.
impl Serialize for UsageCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Whole(count) => serializer.serialize_u64(count),
            Self::Odd(number) => serializer.serialize_f64(number),
            Self::NotANumber => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_integers_where_they_are_counts() {
        let shown = [UsageCount::Whole(3), UsageCount::Odd(0.7), UsageCount::NotANumber]
            .map(|count| serde_json::to_string(&count).expect("valid"));
        assert_eq!(shown, ["3", "0.7", "null"]);
        assert_eq!(serde_json::to_string(&Timestamp::from_millis(0)).expect("valid"), "\"1970-01-01T00:00:00.000Z\"");
    }
}
