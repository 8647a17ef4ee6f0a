//! The states of a key.

use keylend::domain::State;

use crate::{Row, holds};

/// One pure function says which; the filters of both stores, and what is counted, agree with it for each.
const TESTS: &[&str] = &[
    "src/domain/state.rs::the_first_state_that_fits_holds",
    "tests/conformance/states.rs::exactly_the_keys_in_state_usable_are_found",
    "tests/conformance/states.rs::exactly_what_is_left_of_the_usable_keys_can_be_leased",
    "tests/conformance/states.rs::stats_are_what_the_domain_gathers_from_the_list",
    "tests/mongodb_documents/any_value.rs::each_key_is_seen",
];

const STATES: &[Row] = &[
    ("invalid", TESTS),
    ("disabled", TESTS),
    ("spent", TESTS),
    ("resting", TESTS),
    ("leased", TESTS),
    ("usable", TESTS),
];

#[test]
fn every_state_has_its_test() {
    holds(STATES, State::ALL.map(State::as_str));
}
