//! Leases, and counting as the older systems did.

use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use warp::http::Method;

use super::operation::{Operation, text, whole};
use crate::http::problem::Code;
use crate::wire::keys::{FoundKeyReply, IncrementedReply, KeyRefBody, KeyReply};
use crate::wire::leases::{LeaseBody, LeaseReply, OpenLeaseReply, RenewBody, RenewReply, ReportBody, ReportReply};

const ID: &str = "65937c5b0a1b2c3d4e5f6071";
const SECRET: &str = "sk-0123456789abcdefABCD";
const AT: &str = "2026-01-02T03:04:05.678Z";

pub(super) fn operations() -> Vec<Operation> {
    let lease = json!({
        "lease_id": "stability.65937c5b0a1b2c3d4e5f6071.0102030405060708090a0b0c0d0e0f10",
        "pool": "stability", "id": ID, "api_key": SECRET, "usage_count": 1, "expires_at": AT,
    });
    let open_lease = json!({"pool": "stability", "id": ID, "by": "painter", "expires_at": AT});
    let at = |method, path, id| Operation::new(method, path, "leases", id);
    let counting = |path, id| Operation::new(Method::POST, path, "counting", id);
    let idempotency_key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
    let of_lease = [("lease_id", "$response.body#/lease_id")];
    vec![
        at(Method::POST, "/v1/pools/{pool}/leases", "lease")
            .says(
                "Lease a key",
                "Reserves one use of the key that goes next, until it is reported or lapses. With `Prefer: wait=10` \
                 the answer comes as soon as a key is free, 60 s at most; at once where none can become free.",
            )
            .header(
                "Idempotency-Key",
                "Visible ASCII characters. The same request repeated while its lease is open gets that lease (200)",
                idempotency_key.pattern(Some("^[!-~]+$")),
            )
            .header("Prefer", "How many seconds to wait for a key, such as `wait=10`; anything else is passed over", text())
            .may_take::<LeaseBody>(json!({"ttl_seconds": 300}))
            .answers::<LeaseReply<'_>>(201, "A new lease", lease.clone())
            .with("Location", "The lease")
            .leads_to("show_lease", &of_lease)
            .leads_to("renew", &of_lease)
            .leads_to("report", &of_lease)
            .leads_to("end_lease", &of_lease)
            .answers::<LeaseReply<'_>>(200, "The lease that the same request got before", lease)
            .with("Location", "The lease")
            .or(&[Code::NoUsableKey, Code::StoreUnavailable]),
        at(Method::POST, "/v1/leases/{lease_id}/report", "report")
            .says(
                "Report what became of it",
                "Settles the lease, once. `used` counts one use; all others count nothing. `rate_limited` lets the key \
                 rest, `exhausted` and `rejected` disable it. After 410 do not retry.",
            )
            .takes::<ReportBody>(json!({"outcome": "used"}))
            .answers::<ReportReply>(
                200,
                "The key as it is afterwards",
                json!({"id": ID, "usage_count": 2, "state": "usable"}),
            )
            .or(&[Code::StoreUnavailable]),
        at(Method::POST, "/v1/leases/{lease_id}/renew", "renew")
            .says("Let it last longer", "That long from now, never shorter than it would have, any number of times.")
            .takes::<RenewBody>(json!({"ttl_seconds": 300}))
            .answers::<RenewReply>(200, "When it lapses now", json!({"expires_at": AT}))
            .or(&[Code::StoreUnavailable]),
        at(Method::GET, "/v1/leases/{lease_id}", "show_lease")
            .says("Look at an open lease", "Without the key's secret.")
            .answers::<OpenLeaseReply<'_>>(200, "The lease", open_lease.clone())
            .or(&[Code::StoreUnavailable]),
        at(Method::DELETE, "/v1/leases/{lease_id}", "end_lease")
            .says("End a lease for its holder", "Settles it as unused.")
            .answers::<OpenLeaseReply<'_>>(200, "The lease as it was", open_lease)
            .or(&[Code::StoreUnavailable]),
        counting("/v1/pools/{pool}/find_usable_key", "find_usable_key")
            .says(
                "Find the key to use next",
                "Stamps it as used, reserves and counts nothing: two callers can get the same last use. Who needs \
                 exactness leases.",
            )
            .query(
                "max_uses",
                "Takes keys with so many uses counted or out on lease at most; the pool's own limit where it is not there",
                whole(0, 10_000),
            )
            .answers::<FoundKeyReply<'_>>(
                200,
                "The key",
                json!({"pool": "stability", "id": ID, "api_key": SECRET, "usage_count": 1, "last_used": AT}),
            )
            .or(&[Code::InvalidRequest, Code::NoUsableKey, Code::StoreUnavailable]),
        counting("/v1/pools/{pool}/increment_usage", "increment_usage")
            .says(
                "Count a use that has happened",
                "Whatever the key's state, and again when it is repeated.",
            )
            .takes::<KeyRefBody>(json!({"api_key": SECRET}))
            .answers::<IncrementedReply>(
                200,
                "The key afterwards",
                json!({"id": ID, "usage_count": 2, "last_used": AT}),
            )
            .or(&[Code::UnknownKey, Code::InvalidKey, Code::StoreUnavailable]),
        counting("/v1/pools/{pool}/look_up", "look_up")
            .says("Look a key up", "Changes nothing.")
            .takes::<KeyRefBody>(json!({"id": ID}))
            .answers::<KeyReply>(
                200,
                "The key",
                json!({"id": ID, "masked": "sk-01...ABCD", "usage_count": 2, "last_used": AT, "is_active": true, "state": "usable"}),
            )
            .or(&[Code::UnknownKey, Code::StoreUnavailable]),
    ]
}
