//! Whether callers go to the store together. Tests of what must hold either way are run both ways: the second time with
//! `KEYLEND_TEST_COMBINE=off`.

use std::time::Duration;

use keylend::pool::Serving;

/// Whether they do in this run.
pub fn is_on() -> bool {
    !std::env::var("KEYLEND_TEST_COMBINE").is_ok_and(|way| way == "off")
}

/// The way of this run, with this time limit.
pub fn serving(time_limit: Duration) -> Serving {
    Serving { time_limit, combine: is_on() }
}
