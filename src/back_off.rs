//! Pauses before something is tried again.

use std::time::Duration;

/// The first and the longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Pauses that grow, with a part of chance so that instances do not come all at once.
pub struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self::new()
    }
}

impl BackOff {
    /// Nothing has failed yet.
    pub const fn new() -> Self {
        Self(PAUSES.0)
    }

    /// How long to wait now: from 125 ms up to 5 s.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and nobody iterates over it")]
    pub fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(rand::random_range(0.5..1.0));
        self.0 = (self.0 * 2).min(PAUSES.1);
        pause
    }
}
