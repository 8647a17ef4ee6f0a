//! What operators do with keys.

use serde_json::{Value, json};
use utoipa::PartialSchema;
use warp::http::Method;

use super::operation::{Operation, shaped, whole};
use crate::domain::State;
use crate::http::export::NDJSON;
use crate::http::problem::Code;
use crate::wire::admin::{ChangeBody, KeysReply, ResetBody, ResetReply};
use crate::wire::keys::{AddKeysBody, AddedReply};
use crate::wire::provider::{AskedReply, GeneratedReply, VerificationReply};
use crate::wire::record::KeyRecordReply;

const ID: &str = "65937c5b0a1b2c3d4e5f6071";

fn key() -> Value {
    json!({
        "id": ID, "masked": "sk-01...ABCD", "usage_count": 2, "last_used": "2026-01-02T03:04:01.000Z",
        "is_active": true, "state": "usable", "left": 1, "disabled_reason": null, "resting_until": null, "note": null,
        "added_at": "2026-01-01T00:00:00.000Z",
        "verified": {"at": "2026-01-01T00:00:00.000Z", "verdict": "alive", "credits": 24.5},
        "leases": [{"by": "painter", "expires_at": "2026-01-02T03:09:05.678Z"}],
    })
}

fn verified() -> Value {
    json!({
        "id": ID, "masked": "sk-01...ABCD", "verdict": "alive", "credits": 24.5, "reason": null, "state": "usable",
    })
}

pub(super) fn operations() -> Vec<Operation> {
    let at = |method, path, id| Operation::new(method, path, "keys", id).or(&[Code::StoreUnavailable]);
    vec![
        at(Method::GET, "/v1/pools/{pool}/keys", "list_keys")
            .says("List keys", "Part by part, masked.")
            .query("state", "Only keys in this state", State::schema())
            .query("limit", "How many at most; 100 where it is not there", whole(1, 1000))
            .query("cursor", "The `next_cursor` of the answer before, as it is", shaped("^([0-9]{1,15}\\.)?[0-9a-f]{24}$"))
            .answers::<KeysReply<'_>>(
                200,
                "A part of them; `next_cursor` is null where it is the last one",
                json!({"keys": [key()], "next_cursor": null}),
            )
            .leads_to("show_key", &[("pool", "$request.path.pool"), ("id", "$response.body#/keys/0/id")])
            .or(&[Code::InvalidRequest]),
        at(Method::POST, "/v1/pools/{pool}/keys", "add_keys")
            .says(
                "Add keys",
                "As JSON; or lines of up to 256 MiB, read and added piece by piece: one key a line, or what an export \
                 wrote. A key that the pool has is left as it is.",
            )
            .takes::<AddKeysBody>(json!({"api_keys": ["sk-0123456789abcdefABCD", "sk-0123456789abcdefABCE"]}))
            .takes_text("text/plain", "sk-0123456789abcdefABCF\nsk-0123456789abcdefABCG\n")
            .takes_text(NDJSON, "{\"pool\": \"stability\", \"api_key\": \"sk-0123456789abcdefABCH\", \"usage_count\": 1}\n")
            .answers::<AddedReply>(
                200,
                "What became of them; of those not added the first 1,000, by line and never by content",
                json!({"added": 1, "known": 0, "invalid": 1, "lines": [{"line": 2, "verdict": "invalid", "reason": "has a character that is not visible ASCII"}]}),
            ),
        at(Method::GET, "/v1/pools/{pool}/keys/{id}", "show_key")
            .says("Look at a key", "Masked, with its open leases.")
            .answers::<KeyRecordReply<'_>>(200, "The key", key()),
        at(Method::PATCH, "/v1/pools/{pool}/keys/{id}", "change_key")
            .says(
                "Change a key",
                "What is named, and nothing else. With a new `api_key` it starts afresh: count 0 unless given, rest and \
                 a report's disabling ended, open leases dropped.",
            )
            .takes::<ChangeBody>(json!({"is_active": true, "note": "ours"}))
            .answers::<KeyRecordReply<'_>>(200, "The key afterwards", key())
            .or(&[Code::KnownKey]),
        at(Method::DELETE, "/v1/pools/{pool}/keys/{id}", "remove_key")
            .says("Remove a key", "Its leases go with it: their reports are answered 410.")
            .answers_nothing(204, "It is gone"),
        at(Method::POST, "/v1/pools/{pool}/keys/{id}/verify", "verify_key")
            .says(
                "Verify a key",
                "Asks the provider whether it is alive, and applies what it says: alive enables what a report \
                 disabled, rejected and exhausted disable, rate_limited lets it rest. Where nothing is known, nothing \
                 changes, and `reason` says why.",
            )
            .answers::<VerificationReply>(200, "What the provider said, and the key afterwards", verified())
            .or(&[Code::InvalidKey, Code::CannotVerify]),
        at(Method::POST, "/v1/pools/{pool}/generate", "generate")
            .says(
                "Have a key made",
                "By the pool's command, verified and added; where there is none, a person is asked for one.",
            )
            .answers::<GeneratedReply>(201, "A key was made and added", {
                let mut made = verified();
                made["pool"] = "stability".into();
                made["outcome"] = "added".into();
                made
            })
            .answers::<AskedReply>(
                202,
                "A person was asked; `key_requests` are open now",
                json!({"pool": "stability", "outcome": "asked", "request_id": "0123456789abcdef", "key_requests": 1}),
            )
            .or(&[Code::GenerationFailed]),
        at(Method::POST, "/v1/pools/{pool}/reset", "reset")
            .says("Count keys anew", "usage_count 0 and last_used now, as when a new month begins.")
            .takes::<ResetBody>(json!({"all": true}))
            .answers::<ResetReply>(200, "How many, and which are not there", json!({"reset": 9, "unknown": []})),
        at(Method::GET, "/v1/pools/{pool}/export", "export")
            .says(
                "Export a pool",
                "One key a line, with its secret; importing it gives the same pool back. The last line, \
                 `{pool, exported, invalid, invalid_keys}`, is there where it is whole.",
            )
            .answers_text("The lines", NDJSON),
    ]
}
