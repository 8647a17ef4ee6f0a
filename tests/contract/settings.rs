//! The settings.

use std::collections::BTreeSet;

use keylend::config::SETTINGS;
use keylend::config::table::{self, Setting};

use crate::{Row, holds};

/// Each setting's fault is told in each of its places.
const FAULTS: &str = "tests/program/settings.rs::the_fault_of_each_setting_is_told_in_each_place_and_ends_with_64";
const DEFAULTS: &str = "src/config/mod.rs::everything_has_a_default";
const OLD: &str = "src/config/mod.rs::the_variables_of_the_old_servers_are_understood";
const BOT: &str = "src/config/bot.rs::each_setting_is_understood_within_its_bounds";
const BOT_DEFAULTS: &str = "src/config/bot.rs::everything_but_the_token_has_a_default";
const OLD_FILES: &str =
    "src/config/mod.rs::the_files_of_the_older_server_are_the_named_ones_or_those_of_the_old_names_that_exist";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("MONGODB_URI", &[FAULTS, DEFAULTS, "src/config/mod.rs::the_store_that_is_set_closest_to_the_command_line_is_meant"]),
    ("MONGODB_URI_FILE", &["src/config/secret_files.rs::the_value_is_what_the_file_holds", "src/config/secret_files.rs::what_is_wrong_with_a_file_is_told_and_nothing_of_it"]),
    ("MONGO_URI", &[FAULTS, OLD]),
    ("MONGO_URI_FILE", &["src/config/secret_files.rs::the_value_is_what_the_file_holds", "src/config/secret_files.rs::what_is_wrong_with_a_file_is_told_and_nothing_of_it"]),
    ("MONGODB_DATABASE", &[FAULTS, "src/store/mongodb/connect.rs::the_database_is_the_settings_then_the_uris_then_keylend", "tests/program/check.rs::keys_in_another_database_are_named_with_the_setting"]),
    ("KEYLEND_DATA", &[DEFAULTS, "src/config/mod.rs::flags_go_over_the_environment"]),
    ("KEYLEND_STORE_TIMEOUT", &[FAULTS, DEFAULTS, "src/config/mod.rs::time_limits_have_bounds", "tests/store_away/mongodb.rs::a_way_to_the_store_that_fails_and_heals_loses_and_invents_nothing"]),
    ("KEYLEND_LISTEN", &[FAULTS, DEFAULTS, "tests/program/serving.rs::a_port_in_use_is_named_with_its_setting", "tests/program/settings.rs::other_machines_need_tokens_and_the_first_one_can_be_made_before"]),
    ("FLASK_RUN_PORT", &[FAULTS, OLD]),
    ("KEYLEND_TOKENS", &[FAULTS, "src/config/tokens.rs::entries_and_sections_are_one_list", "tests/program/tokens.rs::the_entry_the_section_and_the_curl_of_a_new_token_work"]),
    ("KEYLEND_TOKENS_FILE", &["src/config/secret_files.rs::the_value_is_what_the_file_holds", "src/config/secret_files.rs::what_is_wrong_with_a_file_is_told_and_nothing_of_it", "tests/program/settings.rs::secrets_are_read_from_files_and_again_on_sighup"]),
    ("KEYLEND_ENCRYPTION_KEYS", &[FAULTS, "src/config/encryption.rs::what_is_wrong_with_keys_is_told_without_them", "tests/program/encrypted.rs::what_is_stored_holds_no_key"]),
    ("KEYLEND_ENCRYPTION_KEYS_FILE", &["src/config/secret_files.rs::the_value_is_what_the_file_holds", "src/config/secret_files.rs::what_is_wrong_with_a_file_is_told_and_nothing_of_it"]),
    ("KEYLEND_DIGEST_KEY", &[FAULTS, "src/config/encryption.rs::what_is_wrong_with_keys_is_told_without_them", "tests/conformance/encrypted.rs::another_key_under_a_known_name_is_refused"]),
    ("KEYLEND_DIGEST_KEY_FILE", &["src/config/secret_files.rs::the_value_is_what_the_file_holds", "src/config/secret_files.rs::what_is_wrong_with_a_file_is_told_and_nothing_of_it"]),
    ("KEYLEND_HOSTS", &[FAULTS, DEFAULTS, "tests/program/serving.rs::a_name_that_leads_here_is_no_way_in", "src/http/hosts.rs::a_server_is_called_by_its_own_names"]),
    ("KEYLEND_TLS_CERT", &["tests/program/tls.rs::who_listens_on_the_wire_learns_no_key", "tests/program/tls.rs::files_that_cannot_be_used_are_faults_of_their_settings", "tests/program/tls.rs::a_certificate_is_exchanged_on_sighup_and_drops_nobody"]),
    ("KEYLEND_TLS_KEY", &["tests/program/tls.rs::who_listens_on_the_wire_learns_no_key", "tests/program/tls.rs::files_that_cannot_be_used_are_faults_of_their_settings"]),
    ("KEYLEND_OPEN_FLASK", &[FAULTS, DEFAULTS, "tests/api/flask.rs::the_older_routes_can_be_open_where_all_others_need_tokens"]),
    ("KEYLEND_AUDIT_FILE", &["tests/program/audit.rs::who_did_what_to_which_key_can_be_told", "tests/program/audit.rs::files_that_cannot_be_used_are_faults_of_their_setting"]),
    ("KEYLEND_AUDIT_REQUIRED", &[FAULTS, "tests/program/audit.rs::an_act_that_cannot_be_written_down_is_refused"]),
    ("KEYLEND_COMBINE", &[FAULTS, DEFAULTS, "tests/exactness/servers.rs::a_crowd_that_leases_keys_spreads_over_fresh_keys"]),
    ("KEYLEND_MAX_IN_FLIGHT", &[FAULTS, "src/config/mod.rs::sizes_and_numbers_have_bounds", "tests/api/frame.rs::as_many_requests_are_answered_at_once_as_may_be"]),
    ("KEYLEND_BODY_LIMIT", &[FAULTS, "src/config/mod.rs::sizes_and_numbers_have_bounds", "tests/api/keys.rs::what_is_too_large_or_of_another_type_is_refused"]),
    ("KEYLEND_CONFIG", &[FAULTS, "src/config/source.rs::the_file_is_the_named_one_else_keylend_toml_where_it_exists", "tests/program/settings.rs::pools_of_the_file_lend_by_their_own_policies"]),
    ("PLANTID_FILE", &[OLD_FILES, "tests/key_files/program.rs::a_line_appended_is_lent_and_one_removed_is_not"]),
    ("HEALTHID_FILE", &[OLD_FILES, "tests/program/check.rs::key_files_are_counted_and_told_of"]),
    ("API_STATE_FILE", &[OLD_FILES, "tests/key_files/program.rs::an_old_folder_is_taken_over"]),
    ("LOG_FILE", &["tests/program/log.rs::a_log_file_that_cannot_be_opened_is_a_fault_of_its_setting", "tests/program/log.rs::a_moved_log_file_is_left_and_no_line_is_lost"]),
    ("KEYLEND_LOG_FORMAT", &[FAULTS, "tests/program/log.rs::the_start_and_the_end_are_told"]),
    ("RUST_LOG", &[FAULTS, DEFAULTS]),
    ("FLASK_DEBUG", &[FAULTS, OLD]),
    ("STATS_API", &[BOT, BOT_DEFAULTS]),
    ("STATS_TOKEN", &[BOT, "src/config/bot.rs::no_secret_is_shown"]),
    ("STATS_TOKEN_FILE", &["src/config/secret_files.rs::the_value_is_what_the_file_holds", "src/config/secret_files.rs::what_is_wrong_with_a_file_is_told_and_nothing_of_it"]),
    ("DISCORD_BOT_TOKEN", &[BOT, BOT_DEFAULTS]),
    ("DISCORD_BOT_TOKEN_FILE", &["src/config/secret_files.rs::the_value_is_what_the_file_holds", "src/config/secret_files.rs::what_is_wrong_with_a_file_is_told_and_nothing_of_it"]),
    ("REFRESH_INTERVAL", &[BOT, BOT_DEFAULTS]),
    ("COMMAND_PREFIX", &[BOT, BOT_DEFAULTS]),
    ("ALERT_CHANNEL_ID", &[BOT, BOT_DEFAULTS]),
    ("ALERT_LOW", &[BOT, "src/config/bot.rs::a_pool_has_its_own_number_or_that_of_the_others"]),
    ("DISCORD_API_BASE", &[BOT, BOT_DEFAULTS]),
    ("KEYLEND_BOT_LISTEN", &[BOT, BOT_DEFAULTS]),
    ("KEYLEND_BOT_STATE", &[BOT_DEFAULTS]),
];

#[test]
fn every_setting_has_its_test() {
    holds(TABLE, SETTINGS);
}

/// The tables of the paper, each with the comment before it.
const TABLES: [(&str, &[Setting]); 2] = [
    ("<!-- settings of the server: by tests/contract, from src/config/table.rs -->\n", table::SERVER),
    ("<!-- settings of the bot: by tests/contract, from src/config/table.rs -->\n", table::BOT),
];

/// With `KEYLEND_WRITE_PAPERS` set, writes them.
#[test]
fn the_paper_has_every_setting_as_the_program_has_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    let paper = std::fs::read_to_string(path).unwrap();
    let mut made = paper.clone();
    for (mark, settings) in TABLES {
        let (before, rest) = made.split_once(mark).unwrap_or_else(|| panic!("docs/settings.md has no {mark}"));
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        let rows = settings.iter().map(|Setting { names, default, says }| {
            let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            format!("| {names} | {default} | {says} |\n")
        });
        let rows: String = rows.collect();
        made = format!("{before}{mark}\n| variable | default | |\n|---|---|---|\n{rows}\n<!-- end -->{after}");
    }
    if std::env::var_os("KEYLEND_WRITE_PAPERS").is_some() {
        std::fs::write(path, &made).unwrap();
    } else {
        let differ = paper.lines().zip(made.lines()).find(|(paper, made)| paper != made);
        assert!(paper == made, "KEYLEND_WRITE_PAPERS=1 cargo test --test contract writes it: {differ:#?}");
    }
}

#[test]
fn the_example_has_every_setting_with_its_default() {
    let example = include_str!("../../.env.example");
    let name = |line: &'static str| Some(line.strip_prefix('#')?.split_once('=')?.0).filter(|name| !name.contains(' '));
    let named: BTreeSet<&str> = example.lines().filter_map(name).collect();
    assert_eq!(named, BTreeSet::from(SETTINGS));
    for Setting { names, default, .. } in table::SERVER.iter().chain(table::BOT) {
        let value = default.strip_prefix('`').and_then(|default| default.strip_suffix('`'));
        let Some(value) = value.filter(|value| !value.contains('`')) else { continue };
        let mark = format!("#{}=", names[0]);
        let part = example.split("\n\n").find(|part| part.contains(&mark)).unwrap();
        assert!(part.contains(value), "{}: .env.example does not name its default, {value}", names[0]);
    }
}
