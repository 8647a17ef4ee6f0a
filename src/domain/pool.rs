//! The pool: all keys of one provider, and the policy by which they are lent.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::provider::Provider;

/// The name of a pool: 1 to 40 of `a-z`, `0-9`, `_` and `-`, the first a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(String);

/// The text is no pool name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a pool name is 1 to 40 of a-z, 0-9, _ and -, and starts with a letter")]
pub struct InvalidPoolName;

impl PoolName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PoolName {
    type Err = InvalidPoolName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=40).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidPoolName) }
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of the usable keys is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picks {
    /// The oldest `last_used` first, never used before all, ties by id. A key handed out less than
    /// [`COOL_DOWN`] ago comes only where no other is usable.
    LeastRecentlyUsed,
    /// The first by `order`, then id, until it is spent.
    InOrder,
}

/// How long a key that was just handed out lets others go first, so that a crowd spreads over the keys.
pub const COOL_DOWN: Duration = Duration::from_secs(1);

impl Picks {
    /// Both.
    pub const ALL: [Self; 2] = [Self::LeastRecentlyUsed, Self::InOrder];

    /// The configured and shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeastRecentlyUsed => "least_recently_used",
            Self::InOrder => "in_order",
        }
    }
}

/// What a lease that lapsed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapsed {
    /// A use: the provider may have seen it.
    Count,
    /// Nothing: the use goes back to the key.
    Refund,
}

impl Lapsed {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Count, Self::Refund];

    /// The configured and shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Refund => "refund",
        }
    }
}

/// How the keys of one pool are lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The pool.
    pub name: PoolName,
    /// The MongoDB collection, or the table of the embedded store, that holds its keys.
    pub collection: String,
    /// Which usable key goes first.
    pub picks: Picks,
    /// How many uses one key gives.
    pub uses_per_key: u32,
    /// What a lapsed lease means.
    pub lapsed: Lapsed,
    /// How long a lease lasts where the caller does not say.
    pub lease_ttl: Duration,
    /// How long a key rests after `rate_limited` where the caller does not say.
    pub rest: Duration,
    /// The longest rest that a caller can ask for.
    pub rest_cap: Duration,
    /// Whether secrets are encrypted where they are stored.
    pub encrypt: bool,
    /// What may be asked of those who give the keys.
    pub provider: Arc<Provider>,
}

impl Policy {
    /// A pool with the defaults of the settings, its collection named after it.
    pub fn new(name: PoolName, picks: Picks, uses_per_key: u32) -> Self {
        Self {
            collection: format!("{}_api_keys", name.as_str().replace('-', "_")),
            name,
            picks,
            uses_per_key,
            lapsed: Lapsed::Count,
            lease_ttl: Duration::from_secs(300),
            rest: Duration::from_secs(60),
            rest_cap: Duration::from_secs(3600),
            encrypt: false,
            provider: Arc::default(),
        }
    }

    /// The three pools that are there without any configuration.
    pub fn built_in() -> [Self; 3] {
        let pool = |name: &str, picks, uses_per_key| Self::new(PoolName(name.to_owned()), picks, uses_per_key);
        let stability = pool("stability", Picks::LeastRecentlyUsed, 4);
        [
            Self { provider: Arc::new(Provider::stability()), ..stability },
            pool("plantid", Picks::InOrder, 100),
            pool("healthid", Picks::InOrder, 100),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_name_is_short_lower_case_and_starts_with_a_letter() {
        let longest = "a".repeat(40);
        for good in ["a", "stability", "plant-id_2", longest.as_str()] {
            assert_eq!(good.parse::<PoolName>().expect("valid").to_string(), good);
        }
        for bad in ["", "2nd", "_a", "-a", "Stability", "a.b", "a/b", "a b", "ä", &"a".repeat(41)] {
            assert_eq!(bad.parse::<PoolName>(), Err(InvalidPoolName), "{bad}");
        }
    }

    #[test]
    fn the_built_in_pools_are_those_of_the_old_systems() {
        let seen = Policy::built_in().map(|policy| {
            (
                policy.name.to_string(),
                policy.collection,
                policy.picks.as_str(),
                policy.uses_per_key,
                policy.lapsed.as_str(),
            )
        });
        let pool =
            |name: &str, collection: &str, picks, uses| (name.to_owned(), collection.to_owned(), picks, uses, "count");
        assert_eq!(
            seen,
            [
                pool("stability", "stability_api_keys", "least_recently_used", 4),
                pool("plantid", "plantid_api_keys", "in_order", 100),
                pool("healthid", "healthid_api_keys", "in_order", 100),
            ]
        );
        assert_eq!(Lapsed::Refund.as_str(), "refund");
        let policy = Policy::new("my-own".parse().expect("valid"), Picks::InOrder, 1);
        assert_eq!(policy.collection, "my_own_api_keys");
        assert_eq!(
            (policy.lease_ttl, policy.rest, policy.rest_cap),
            (Duration::from_secs(300), Duration::from_secs(60), Duration::from_secs(3600))
        );
    }
}
