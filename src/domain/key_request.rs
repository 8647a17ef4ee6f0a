//! The request for a key: where no command makes keys, a person is asked for one.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::hex;
use super::timestamp::Timestamp;

/// How many can be open in one pool: a person who did not bring so many needs no further word.
pub const MOST_REQUESTS: usize = 100;

/// What names a request within its pool: 16 hexadecimal digits, or `low_water` for the one that the pool makes by
/// itself, of which there can be only one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(String);

/// The text names no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a request's id is low_water or 16 lower-case hexadecimal digits")]
pub struct InvalidRequestId;

impl RequestId {
    /// The id of the request that a pool makes by itself.
    pub fn low_water() -> Self {
        Self("low_water".to_owned())
    }

    /// A request of somebody, named by chance.
    pub fn new(random: [u8; 8]) -> Self {
        Self(hex::lower(&random))
    }

    /// As it is kept and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex || text == "low_water" { Ok(Self(text.to_owned())) } else { Err(InvalidRequestId) }
    }
}

/// An open request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// What names it.
    pub id: RequestId,
    /// Who asked: the name of a token, `the command line`, or `low_water`; empty where tokens are not in use.
    pub by: String,
    /// When, by the store's clock.
    pub asked_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_and_its_text_are_one_to_one() {
        for id in [RequestId::low_water(), RequestId::new([0xab; 8]), RequestId::new([0; 8])] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "low-water", "ABABABABABABABAB", "abab", "ababababababababab", "ababababababab:b"] {
            assert_eq!(bad.parse::<RequestId>(), Err(InvalidRequestId), "{bad}");
        }
    }
}
