//! How often somebody may come with a token that is none, and how often with one that has a rate.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::problem::Problem;
use crate::domain::Token;

/// So many attempts that fail an address has at once, and one more each second.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();
const PER_SECOND: NonZeroU32 = NonZeroU32::new(1).unwrap();

/// From so many addresses on those that have behaved since are forgotten.
const ADDRESSES: usize = 10_000;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(pub(super) IpAddr);

impl Peer {
    /// Whoever has one IPv6 address has the 64 bits of its network.
    fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// What callers have tried.
pub(super) struct Attempts {
    failed: DefaultKeyedRateLimiter<IpAddr>,
    /// By the names of their tokens, each with its rate.
    rates: Mutex<HashMap<String, (NonZeroU32, Arc<DefaultDirectRateLimiter>)>>,
}

impl Default for Attempts {
    fn default() -> Self {
        let quota = Quota::per_second(PER_SECOND).allow_burst(AT_ONCE);
        Self { failed: RateLimiter::keyed(quota), rates: Mutex::default() }
    }
}

impl Attempts {
    /// A token that was sent is none. Told in the log, as long as the address does not try too often.
    ///
    /// # Errors
    /// The problem to answer with where it does.
    pub(super) fn failed(&self, peer: Option<Peer>) -> Result<(), Problem> {
        let Some(peer) = peer else { return Ok(()) };
        if self.failed.len() >= ADDRESSES {
            self.failed.retain_recent();
        }
        match self.failed.check_key(&peer.network()) {
            Ok(()) => {
                tracing::warn!(event = "token_refused", address = %peer.0, "a token was sent that is none, or has ended");
                Ok(())
            }
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Err(Problem::too_many(
                    "too many wrong tokens were sent from this address; send one of this server",
                    wait,
                ))
            }
        }
    }

    /// Whether this token may ask now.
    ///
    /// # Errors
    /// The problem to answer with where it has a rate and has used it up.
    pub(super) fn may_ask(&self, token: &Token) -> Result<(), Problem> {
        let Some(rate) = token.requests_per_second() else { return Ok(()) };
        let limiter = {
            // Nothing can be half-changed by a panic: each change is one insertion.
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            let limiter = || (rate, Arc::new(RateLimiter::direct(Quota::per_second(rate))));
            let known = rates.entry(token.name().to_owned()).or_insert_with(limiter);
            if known.0 != rate {
                // Another one since the settings were read again.
                *known = limiter();
            }
            Arc::clone(&known.1)
        };
        limiter.check().map_err(|until| {
            let wait: Duration = until.wait_time_from(DefaultClock::default().now());
            Problem::too_many(format!("this token may ask {rate} times a second"), wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer(address.parse().expect("an address")))
    }

    #[test]
    fn an_address_that_fails_too_often_waits_and_others_do_not() {
        let attempts = Attempts::default();
        let fail = |address| (0..30).filter(|_| attempts.failed(peer(address)).is_ok()).count();
        // As many as there may be at once; a slow machine lets one or two more through.
        assert!((20..30).contains(&fail("192.0.2.1")));
        assert!((20..30).contains(&fail("192.0.2.2")));
        assert!((20..30).contains(&fail("2001:db8::1")));
        // The same network, and the same address in another form.
        assert!(fail("2001:db8::ffff") < 20 && fail("::ffff:192.0.2.1") < 20);
        assert!(attempts.failed(None).is_ok());
    }
}
