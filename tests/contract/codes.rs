//! The codes of problems, with their statuses.

use keylend::http;

use crate::{Row, holds};

const ERRORS: &str = "src/http/problem.rs::every_error_has_its_code_status_and_retry_after";
const NONSENSE: &str = "tests/api/problems.rs::every_route_answers_nonsense_with_a_problem";

#[rustfmt::skip]
const CODES: &[Row] = &[
    ("no_usable_key 503", &[ERRORS, "tests/api/find_usable_key.rs::says_why_there_is_no_key"]),
    ("store_unavailable 503", &[ERRORS, "tests/store_away/mongodb.rs::a_way_to_the_store_that_fails_and_heals_loses_and_invents_nothing"]),
    ("overloaded 503", &[ERRORS, "tests/api/frame.rs::as_many_requests_are_answered_at_once_as_may_be"]),
    ("unknown_pool 404", &[ERRORS, NONSENSE]),
    ("unknown_key 404", &[ERRORS, NONSENSE]),
    ("invalid_key 409", &[ERRORS, "tests/mongodb_documents/any_value.rs::what_can_be_counted_is_counted"]),
    ("known_key 409", &[ERRORS, "tests/api/operators.rs::a_new_secret_starts_afresh"]),
    ("not_found 404", &["tests/api/problems.rs::what_is_not_there_is_not_found"]),
    ("method_not_allowed 405", &["src/http/routes.rs::another_method_is_told_those_there_are", NONSENSE]),
    ("lease_gone 410", &[ERRORS, "tests/api/leases.rs::a_report_is_taken_once"]),
    ("invalid_request 400", &[ERRORS, NONSENSE]),
    ("unauthenticated 401", &["tests/api/access.rs::every_route_is_open_to_its_roles_and_no_others"]),
    ("forbidden 403", &["tests/api/access.rs::a_token_for_other_pools_learns_nothing_of_them"]),
    ("too_large 413", &["tests/api/keys.rs::what_is_too_large_or_of_another_type_is_refused", NONSENSE]),
    ("unsupported_media_type 415", &["tests/api/keys.rs::what_is_too_large_or_of_another_type_is_refused", NONSENSE]),
    ("too_many_requests 429", &["tests/program/tokens.rs::who_sends_too_many_wrong_tokens_waits_and_others_do_not", "tests/program/tokens.rs::a_token_asks_as_often_as_it_may"]),
    ("cannot_verify 409", &[ERRORS, "tests/program/verify.rs::a_provider_that_says_nothing_changes_nothing"]),
    ("generation_failed 502", &[ERRORS, "tests/program/generate.rs::a_command_makes_a_key_that_is_verified_and_added"]),
    ("audit_unavailable 503", &["tests/program/audit.rs::an_act_that_cannot_be_written_down_is_refused"]),
    ("timeout 504", &["tests/api/frame.rs::a_handler_that_takes_too_long_is_not_waited_for", "tests/api/frame.rs::a_body_that_does_not_come_is_not_waited_for"]),
    ("internal 500", &[ERRORS, "tests/api/frame.rs::a_panic_is_one_answer_and_no_more"]),
];

#[test]
fn every_code_has_its_status_and_its_test() {
    let there_are: Vec<String> = http::codes().map(|(code, status)| format!("{code} {status}")).collect();
    holds(CODES, there_are.iter().map(String::as_str));
}
