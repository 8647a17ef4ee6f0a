//! Policies and statistics.

use serde_json::{Value, json};
use warp::http::Method;

use super::operation::Operation;
use crate::http::problem::Code;
use crate::wire::events::EventReply;
use crate::wire::pools::PoolsReply;
use crate::wire::stats::{OnePoolReply, StatsReply};

/// The statistics of a pool.
pub(super) fn stats() -> Value {
    json!({
        "name": "stability", "picks": "least_recently_used", "uses_per_key": 4,
        "keys": {"total": 9, "usable": 3, "leased": 1, "resting": 1, "spent": 2, "disabled": 1, "invalid": 1},
        "uses": {"counted": 17, "leased": 2, "left": 9},
        "usage_counts": [{"usage_count": 0, "keys": 2}, {"usage_count": 4, "keys": 2}, {"usage_count": "more", "keys": 1}],
        "last_used": "2026-01-02T03:04:01.000Z", "next_due_at": "2026-01-02T03:05:00.000Z",
        "needs_migration": 0, "rejected": 1,
    })
}

pub(super) fn operations() -> Vec<Operation> {
    let at = |path, id| Operation::new(Method::GET, path, "pools", id);
    let generated_at = "2026-01-02T03:04:05.678Z";
    let mut one = stats();
    one["generated_at"] = generated_at.into();
    let again =
        "Computed when it is asked for, and reused for at most ten times as long as that took: `generated_at` says.";
    vec![
        at("/v1/pools", "list_pools")
            .says("List the pools", "Their policies: how each is lent.")
            .answers::<PoolsReply<'_>>(
                200,
                "The pools that the token may ask for",
                json!({"pools": [{
                    "name": "stability", "picks": "least_recently_used", "uses_per_key": 4, "lapsed": "count",
                    "lease_ttl_seconds": 300, "rest_seconds": 60, "rest_cap_seconds": 3600,
                }]}),
            ),
        at("/v1/stats", "stats")
            .says("Count all pools", again)
            .answers::<StatsReply<'_>>(
                200,
                "The pools that the token may ask for",
                json!({"generated_at": generated_at, "pools": [stats()]}),
            )
            .or(&[Code::StoreUnavailable]),
        at("/v1/events", "events")
            .says(
                "Look on",
                "Server-sent events: `pools`, at once, whenever something changed (at most once a second), and every 15 s; \
                 `problem` where the store does not answer. Each holds one line of JSON: all pools as in /v1/stats, and \
                 what they did lately as far as this instance saw it. 64 may look on at once.",
            )
            .answers_events::<EventReply<'_>>("The events"),
        at("/v1/pools/{pool}/stats", "pool_stats")
            .says("Count a pool", again)
            .answers::<OnePoolReply<'_>>(200, "The pool", one)
            .or(&[Code::StoreUnavailable]),
    ]
}
