//! The routes, with who may ask.

use keylend::http::routes::{Access, ROUTES};

use crate::{Row, holds};

/// Each route is asked in these with every role, every kind of nonsense, and tokens of other pools.
const ACCESS: &str = "tests/api/access.rs::every_route_is_open_to_its_roles_and_no_others";
const NONSENSE: &str = "tests/api/problems.rs::every_route_answers_nonsense_with_a_problem";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("service POST /v1/pools/{pool}/leases", &[ACCESS, NONSENSE, "tests/api/leases.rs::a_lease_reserves_one_use_until_it_is_reported", "tests/api/leases.rs::the_same_idempotency_key_gets_the_same_lease", "tests/api/frame.rs::who_waits_for_a_key_keeps_nobody_out", "tests/waiting/main.rs::who_came_first_is_served_first"]),
    ("service POST /v1/leases/{lease_id}/report", &[ACCESS, NONSENSE, "tests/api/leases.rs::every_outcome_has_its_effect"]),
    ("service POST /v1/leases/{lease_id}/renew", &[ACCESS, NONSENSE, "tests/api/leases.rs::a_renewal_never_shortens"]),
    ("service GET /v1/leases/{lease_id}", &[ACCESS, NONSENSE, "tests/api/operators.rs::a_lease_is_shown_and_ended"]),
    ("admin DELETE /v1/leases/{lease_id}", &[ACCESS, NONSENSE, "tests/api/operators.rs::a_lease_is_shown_and_ended"]),
    ("service POST /v1/pools/{pool}/find_usable_key", &[ACCESS, NONSENSE, "tests/api/find_usable_key.rs::answers_with_the_key_and_its_stamp_and_counts_nothing", "tests/api/find_usable_key.rs::takes_max_uses_as_the_old_class_did"]),
    ("service POST /v1/pools/{pool}/increment_usage", &[ACCESS, NONSENSE, "tests/api/increment_usage.rs::counts_by_secret_and_by_id_whatever_the_state"]),
    ("service POST /v1/pools/{pool}/look_up", &[ACCESS, NONSENSE, "tests/api/look_up.rs::shows_a_key_masked_and_changes_nothing"]),
    ("stats GET /v1/pools", &[ACCESS, NONSENSE, "tests/api/stats.rs::policies_are_listed"]),
    ("stats GET /v1/stats", &[ACCESS, NONSENSE, "tests/api/stats.rs::stats_tell_keys_by_state_and_uses"]),
    ("stats GET /v1/events", &[ACCESS, NONSENSE, "tests/api/events.rs::the_first_event_says_what_the_stats_say", "tests/api/events.rs::what_changes_is_told_with_what_did_it"]),
    ("stats GET /v1/pools/{pool}/stats", &[ACCESS, NONSENSE, "tests/api/stats.rs::stats_tell_keys_by_state_and_uses"]),
    ("admin GET /v1/pools/{pool}/keys", &[ACCESS, NONSENSE, "tests/api/operators.rs::keys_are_listed_part_by_part"]),
    ("admin POST /v1/pools/{pool}/keys", &[ACCESS, NONSENSE, "tests/api/keys.rs::json_gets_a_verdict_for_each_key", "tests/api/keys.rs::text_is_read_as_people_write_it", "tests/api/export.rs::an_export_imported_elsewhere_is_the_same_pool"]),
    ("admin GET /v1/pools/{pool}/keys/{id}", &[ACCESS, NONSENSE, "tests/api/operators.rs::a_key_is_shown_with_its_leases"]),
    ("admin PATCH /v1/pools/{pool}/keys/{id}", &[ACCESS, NONSENSE, "tests/api/operators.rs::a_key_is_changed_as_it_is_named", "tests/api/operators.rs::a_new_secret_starts_afresh"]),
    ("admin DELETE /v1/pools/{pool}/keys/{id}", &[ACCESS, NONSENSE, "tests/api/operators.rs::a_removed_key_is_gone_with_its_leases"]),
    ("admin POST /v1/pools/{pool}/keys/{id}/verify", &[ACCESS, NONSENSE, "tests/program/verify.rs::what_the_provider_says_of_a_key_becomes_of_it", "tests/program/verify.rs::a_provider_that_says_nothing_changes_nothing"]),
    ("admin POST /v1/pools/{pool}/generate", &[ACCESS, NONSENSE, "tests/program/generate.rs::a_command_makes_a_key_that_is_verified_and_added", "tests/program/generate.rs::without_a_command_a_person_is_asked_and_closes_the_request"]),
    ("admin POST /v1/pools/{pool}/reset", &[ACCESS, NONSENSE, "tests/api/operators.rs::counts_start_anew"]),
    ("admin GET /v1/pools/{pool}/export", &[ACCESS, NONSENSE, "tests/api/export.rs::an_export_imported_elsewhere_is_the_same_pool"]),
    ("service or open GET /api/plantid", &[ACCESS, NONSENSE, "tests/api/flask.rs::keys_go_out_one_after_the_other_until_the_file_is_empty", "tests/api/flask.rs::the_older_routes_can_be_open_where_all_others_need_tokens"]),
    ("service or open GET /api/healthid", &[ACCESS, NONSENSE, "tests/api/flask.rs::keys_go_out_one_after_the_other_until_the_file_is_empty"]),
    ("stats or open GET /api/stats", &[ACCESS, NONSENSE, "tests/api/flask.rs::the_statistics_have_the_older_shape_and_all_pools"]),
    ("stats GET /metrics", &[ACCESS, NONSENSE, "tests/api/metrics.rs::what_was_done_is_counted_by_pool", "tests/monitoring/main.rs::the_metrics_are_as_prometheus_wants_them"]),
    ("open GET /", &[ACCESS, NONSENSE, "tests/api/page.rs::the_page_comes_with_its_parts_and_nothing_else", "tests/page/main.rs::it_shows_what_the_stats_say_while_a_load_runs_and_can_be_used_by_everybody"]),
    ("open GET /page/{file}", &[ACCESS, NONSENSE, "tests/api/page.rs::the_page_comes_with_its_parts_and_nothing_else"]),
    ("open GET /openapi.json", &[ACCESS, NONSENSE, "tests/api/openapi.rs::the_description_is_that_of_the_route_table", "tests/described/main.rs::no_answer_is_outside_of_its_description"]),
    ("open GET /docs", &[ACCESS, NONSENSE, "tests/api/openapi.rs::the_page_has_all_its_parts_with_it"]),
    ("open GET /docs/{file}", &[ACCESS, NONSENSE, "tests/api/openapi.rs::the_page_has_all_its_parts_with_it"]),
    ("open GET /livez", &[ACCESS, NONSENSE, "tests/api/health.rs::a_running_server_is_up_and_ready", "tests/store_away/mongodb.rs::a_store_that_is_not_there_yet_is_waited_for_and_one_that_is_killed_loses_no_count"]),
    ("open GET /readyz", &[ACCESS, NONSENSE, "tests/api/health.rs::a_running_server_is_up_and_ready", "tests/api/health.rs::a_server_that_stops_is_not_ready"]),
];

#[test]
fn every_route_has_its_role_and_its_tests() {
    let there_are: Vec<String> = ROUTES
        .iter()
        .map(|route| {
            let who = match route.access {
                Access::Open => "open".to_owned(),
                Access::Role(role) => role.as_str().to_owned(),
                Access::Flask(role) => format!("{} or open", role.as_str()),
            };
            format!("{who} {} {}", route.method, route.path)
        })
        .collect();
    holds(TABLE, there_are.iter().map(String::as_str));
}

/// The routes of the documents are those of the table.
#[test]
fn every_route_is_documented() {
    let documents = include_str!("../../docs/http.md");
    for route in ROUTES {
        // Two methods of one path can share a row.
        let named = documents.lines().filter(|line| {
            line.starts_with('|') && line.contains(&format!("{}`", route.path))
                || line.contains(&format!("{} ", route.path))
                || line.contains(&format!("{}?", route.path))
        });
        assert!(named.into_iter().any(|line| line.contains(route.method.as_str())), "{} {}", route.method, route.path);
    }
}
