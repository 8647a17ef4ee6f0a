//! The lease: one use of one key, reserved for one caller until it is reported or lapses.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::hex::{parse_hex, write_hex};
use super::key::KeyId;
use super::pool::PoolName;
use super::timestamp::Timestamp;

/// The last part of a lease's id, 128 bits: its own id within its key. 96 of them are random, before them stands when it
/// was made.
///
/// Who knows it can settle the lease, so it is never logged; `Debug` is redacted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId([u8; 16]);

/// The unit of the time in an id, in milliseconds. 32 bits of it last for 13 years and begin again.
const TICK: i64 = 100;

/// No lease is believed to be older.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3600);

impl EntryId {
    /// The id of a lease that is made `now`, by the clock of the instance; `random` must come from a cryptographic source.
    pub fn new(now: Timestamp, random: [u8; 12]) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&ticks(now).to_be_bytes());
        bytes[4..].copy_from_slice(&random);
        Self(bytes)
    }

    /// The id of these sixteen bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// How long ago it was made, as far as the clocks of the instances agree; None where they do not, or where it is no
    /// age that a lease can have.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let made = u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]);
        let age = Duration::from_millis(u64::from(ticks(now).wrapping_sub(made)) * TICK.unsigned_abs());
        (age <= OLDEST).then_some(age)
    }
}

fn ticks(at: Timestamp) -> u32 {
    // Only the low bits are wanted.
    (at.as_millis() / TICK) as u32
}

impl FromStr for EntryId {
    type Err = InvalidLeaseId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Self).ok_or(InvalidLeaseId)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntryId(..)")
    }
}

/// The id of a lease as callers know it: `pool.key.entry`, opaque to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseId {
    /// The pool that lent.
    pub pool: PoolName,
    /// The key that was lent.
    pub key: KeyId,
    /// The lease within the key.
    pub entry: EntryId,
}

/// The text is no lease id that keylend gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is no lease id; use the lease_id of a lease's answer as it is")]
pub struct InvalidLeaseId;

impl FromStr for LeaseId {
    type Err = InvalidLeaseId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let (Some(pool), Some(key), Some(entry), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidLeaseId);
        };
        Ok(Self {
            pool: pool.parse().map_err(|_| InvalidLeaseId)?,
            key: key.parse().map_err(|_| InvalidLeaseId)?,
            entry: entry.parse()?,
        })
    }
}

impl LeaseId {
    /// The whole text, for the caller who may settle the lease.
    pub fn expose(&self) -> String {
        format!("{}.{}.{}", self.pool, self.key, self.entry)
    }

    /// The part that may be logged: pool and key, without the random part.
    pub fn loggable(&self) -> String {
        format!("{}.{}", self.pool, self.key)
    }
}

/// How long a lease is asked to last: 1 to 3,600 whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u16);

/// The number is not from 1 to 3,600.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("ttl_seconds is a whole number from 1 to {}", Ttl::MAX_SECONDS)]
pub struct InvalidTtl;

impl Ttl {
    /// The longest lease, in seconds.
    pub const MAX_SECONDS: u64 = 3600;

    /// A lease of `seconds` seconds.
    ///
    /// # Errors
    /// Where that is not from 1 to [`Ttl::MAX_SECONDS`].
    pub fn from_seconds(seconds: u64) -> Result<Self, InvalidTtl> {
        match u16::try_from(seconds) {
            Ok(short) if (1..=Self::MAX_SECONDS).contains(&seconds) => Ok(Self(short)),
            _ => Err(InvalidTtl),
        }
    }

    /// The same as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

/// What stands in a lease for its Idempotency-Key: the SHA-256 of token name, pool and key, so that a caller's
/// text is never stored, or the lease's own id where none was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyDigest(String);

impl IdempotencyDigest {
    /// The digest of an Idempotency-Key that `token` sent to `pool`.
    pub fn new(token: &str, pool: &PoolName, idempotency_key: &str) -> Self {
        // Each part goes in with its length, so that no two different triples make the same text.
        let mut hash = Sha256::new();
        for part in [token, pool.as_str(), idempotency_key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(format!("{:x}", Hex(&hash.finalize())))
    }

    /// What stands there for a lease without an Idempotency-Key: unique, as the lease's id is.
    pub fn none(entry: EntryId) -> Self {
        Self(entry.to_string())
    }

    /// The stored text: 64 or 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without an Idempotency-Key it is the lease's own id, which is never shown.
        f.write_str("IdempotencyDigest(..)")
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lease_id() -> LeaseId {
        LeaseId {
            pool: "stability".parse().expect("valid"),
            key: KeyId::from_bytes([0xab; 12]),
            entry: EntryId::from_bytes([0x01; 16]),
        }
    }

    #[test]
    fn a_lease_id_names_pool_and_key_and_keeps_its_random_part_to_itself() {
        let id = lease_id();
        let text = "stability.abababababababababababab.01010101010101010101010101010101";
        assert_eq!(id.expose(), text);
        assert_eq!(text.parse::<LeaseId>(), Ok(id.clone()));
        assert_eq!(id.loggable(), "stability.abababababababababababab");
        assert!(!format!("{id:?}").contains("0101"));
        assert_eq!(format!("{:?}", id.entry), "EntryId(..)");
        assert_eq!(format!("{:?}", IdempotencyDigest::none(id.entry)), "IdempotencyDigest(..)");
    }

    #[test]
    fn an_id_tells_its_age_and_only_one_that_can_be() {
        let at = Timestamp::from_millis;
        let made = 1_767_323_045_678;
        let id = EntryId::new(at(made), [0xff; 12]);
        assert_eq!(id.to_string()[8..], "f".repeat(24));
        let age = |later: i64| id.age(at(made + later)).map(|age| age.as_millis());
        assert_eq!((age(0), age(12_345), age(3_600_000)), (Some(0), Some(12_400), Some(3_600_000)));
        // Where the time begins again.
        let last = EntryId::new(at(i64::from(u32::MAX) * TICK), [0; 12]);
        assert_eq!(last.age(at((i64::from(u32::MAX) + 11) * TICK)), Some(Duration::from_millis(1_100)));
        assert_eq!((age(-1_000), age(8 * 24 * 3_600_000)), (None, None));
    }

    #[test]
    fn texts_of_another_shape_are_no_lease_ids() {
        let good = lease_id().expose();
        for bad in [
            "",
            "stability",
            "a.b.c",
            "$where",
            &good[1..good.len() - 1],
            &format!("{good}.x"),
            &good.to_uppercase(),
            &good.replace("stability", ""),
        ] {
            assert_eq!(bad.parse::<LeaseId>(), Err(InvalidLeaseId), "{bad}");
        }
    }

    #[test]
    fn a_ttl_is_1_to_3600_seconds() {
        for seconds in [1, 2, 3599, 3600] {
            assert_eq!(Ttl::from_seconds(seconds).expect("valid").duration(), Duration::from_secs(seconds));
        }
        for seconds in [0, 3601, 65_536, 65_537, u64::MAX] {
            assert_eq!(Ttl::from_seconds(seconds), Err(InvalidTtl), "{seconds}");
        }
    }

    #[test]
    fn a_digest_tells_token_pool_and_key_apart() {
        let pool: PoolName = "stability".parse().expect("valid");
        let digest = |token: &str, key: &str| IdempotencyDigest::new(token, &pool, key);
        assert_eq!(digest("a", "bc"), digest("a", "bc"));
        assert_ne!(digest("a", "bc"), digest("ab", "c"));
        assert_ne!(digest("a", "bc"), IdempotencyDigest::new("a", &"other".parse().expect("valid"), "bc"));
        assert_eq!(digest("a", "bc").as_str().len(), 64);
        assert!(digest("a", "bc").as_str().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(IdempotencyDigest::none(lease_id().entry).as_str(), lease_id().entry.to_string());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_it_gives_back(text in "\\PC{0,90}") {
            if let Ok(id) = text.parse::<LeaseId>() {
                prop_assert_eq!(id.expose(), text);
            }
        }
    }
}
