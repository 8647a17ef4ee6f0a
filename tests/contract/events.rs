//! The events of the log.

use std::collections::BTreeSet;

use crate::{Row, holds, sources};

#[rustfmt::skip]
const EVENTS: &[Row] = &[
    ("started", &["tests/program/log.rs::the_start_and_the_end_are_told", "tests/program/serving.rs::a_server_says_where_it_is_and_ends_when_told"]),
    ("stopping", &["tests/program/log.rs::the_start_and_the_end_are_told"]),
    ("stopped", &["tests/program/log.rs::the_start_and_the_end_are_told", "tests/program/serving.rs::a_second_signal_stops_at_once"]),
    ("settings_read", &["tests/program/log.rs::the_start_and_the_end_are_told", "tests/program/settings.rs::tokens_are_read_again_on_sighup_unless_they_are_faulty_or_gone"]),
    ("key_disabled", &["tests/program/log.rs::a_key_that_rests_or_is_disabled_is_told"]),
    ("key_rested", &["tests/program/log.rs::a_key_that_rests_or_is_disabled_is_told"]),
    ("pool_dry", &["tests/program/log.rs::a_pool_that_goes_to_its_next_key_and_runs_dry_is_told"]),
    ("rotated", &["tests/program/log.rs::a_pool_that_goes_to_its_next_key_and_runs_dry_is_told"]),
    ("leases_lapsed", &["tests/program/log.rs::leases_that_lapse_are_told"]),
    ("store_lost", &["tests/program/log.rs::an_embedded_store_that_another_program_holds_is_told_as_lost_and_back", "tests/store_away/mongodb.rs::a_way_to_the_store_that_fails_and_heals_loses_and_invents_nothing"]),
    ("store_back", &["tests/program/log.rs::an_embedded_store_that_another_program_holds_is_told_as_lost_and_back", "tests/store_away/mongodb.rs::a_way_to_the_store_that_fails_and_heals_loses_and_invents_nothing"]),
    ("import_done", &["tests/program/log.rs::an_import_is_told"]),
    ("key_file_read", &["tests/key_files/program.rs::an_old_folder_is_taken_over"]),
    ("state_taken_over", &["tests/key_files/program.rs::an_old_folder_is_taken_over", "tests/key_files/program.rs::two_programs_follow_the_same_files"]),
    ("key_verified", &["tests/program/verify.rs::what_the_provider_says_of_a_key_becomes_of_it"]),
    ("key_generated", &["tests/program/generate.rs::a_command_makes_a_key_that_is_verified_and_added"]),
    ("key_requested", &["tests/program/generate.rs::a_pool_that_runs_low_asks_once_over_all_instances"]),
    ("command_said", &["tests/program/generate.rs::a_command_makes_a_key_that_is_verified_and_added"]),
    ("key_unreadable", &["tests/program/encrypted.rs::a_key_that_does_not_decrypt_is_told_of_and_not_lent"]),
    ("token_refused", &["tests/program/tokens.rs::who_sends_too_many_wrong_tokens_waits_and_others_do_not"]),
    ("audit_lost", &["tests/program/audit.rs::an_act_that_cannot_be_written_down_is_refused"]),
    ("audit_back", &["tests/program/audit.rs::an_act_that_cannot_be_written_down_is_refused"]),
    ("admin", &["tests/program/log.rs::what_an_operator_does_is_told_in_the_log_file", "tests/program/serving.rs::the_log_tells_of_each_request"]),
];

/// Every event that the sources log: `event = "name"`, or a name that is chosen between two.
fn logged() -> BTreeSet<String> {
    let mut events = BTreeSet::from(["key_rested".to_owned(), "key_disabled".to_owned()]);
    for (_, text) in sources() {
        for (at, start) in text.match_indices("event = \"") {
            let rest = &text[at + start.len()..];
            events.insert(rest[..rest.find('"').unwrap()].to_owned());
        }
    }
    events
}

#[test]
fn every_event_has_its_test() {
    let logged = logged();
    holds(EVENTS, logged.iter().map(String::as_str));
}

#[test]
fn every_event_is_documented() {
    let documents = include_str!("../../docs/cli.md");
    for (event, _) in EVENTS {
        assert!(documents.contains(&format!("`{event}`")), "{event} is not in docs/cli.md");
    }
}
