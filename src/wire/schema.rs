//! The words of the domain as a description of the interface shows them (OpenAPI, JSON Schema).

use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::admin::{ChangeBody, MAX_IDS, ResetBody};
use super::keys::KeyRefBody;
use super::leases::ReportBody;
use crate::domain::key::MAX_USAGE_COUNT;
use crate::domain::record::MAX_NOTE;
use crate::domain::secret::MAX_LEN;
use crate::domain::{
    DisabledReason, KeyId, Lapsed, LeaseId, Outcome, Picks, PoolName, Secret, State, Timestamp, UsageCount,
};

/// Texts of this list and no others.
fn one_of(words: impl IntoIterator<Item = &'static str>, description: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    text.enum_values(Some(words)).into()
}

/// Texts of this shape, a regular expression for all of them.
fn text(pattern: &str, example: &str, description: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    text.pattern(Some(pattern)).examples([Value::from(example)]).into()
}

/// The schema of a type of the domain.
macro_rules! schemas {
    ($($type:ty => $schema:expr),+ $(,)?) => {
        $(impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }

        impl ToSchema for $type {})+
    };
}

schemas! {
    State => one_of(State::ALL.map(State::as_str), "The state of a key: the first of this order that fits"),
    Outcome => one_of(Outcome::ALL.map(Outcome::as_str), "What became of the use of a key"),
    Picks => one_of(Picks::ALL.map(Picks::as_str), "Which key goes next"),
    Lapsed => one_of(Lapsed::ALL.map(Lapsed::as_str), "Whether a lease that lapses counts as a use"),
    DisabledReason => one_of(DisabledReason::ALL.map(DisabledReason::as_str), "Why a key is disabled"),
    PoolName => text("^[a-z][a-z0-9_-]{0,39}$", "stability", "The name of a pool"),
    KeyId => text("^[0-9a-f]{24}$", "65937c5b0a1b2c3d4e5f6071", "The public id of a key, which stays when its api_key changes"),
    LeaseId => text(
        "^[a-z][a-z0-9_-]{0,39}\\.[0-9a-f]{24}\\.[0-9a-f]{32}$",
        "stability.65937c5b0a1b2c3d4e5f6071.0102030405060708090a0b0c0d0e0f10",
        "The id of a lease, opaque: use it as it was answered. Who has it can settle the lease",
    ),
    Secret => ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("A key's secret: visible ASCII characters, no spaces"))
        .pattern(Some("^[!-~]+$"))
        .min_length(Some(1))
        .max_length(Some(MAX_LEN))
        .examples([Value::from("sk-0123456789abcdefABCD")])
        .into(),
    Timestamp => ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("An instant: RFC 3339, UTC, milliseconds"))
        .examples([Value::from("2026-01-02T03:04:05.678Z")])
        .into(),
    UsageCount => OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Number))
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .description(Some("Uses counted: a whole number, unless other programs left something else: then that number, or null"))
        .examples([Value::from(1)])
        .into(),
}

/// A schema as it stands in JSON.
fn written(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).expect("it is written below, and a test reads each")
}

/// An object with these members and no others, of which some must be there.
fn object(required: &[&str], members: Value) -> Value {
    json!({"type": "object", "required": required, "properties": members, "additionalProperties": false})
}

// Bodies that are right in one of several forms.
schemas! {
    KeyRefBody => written(json!({
        "description": "A key, named by its secret or by its id",
        "oneOf": [object(&["api_key"], json!({"api_key": Secret::schema()})), object(&["id"], json!({"id": KeyId::schema()}))],
        "examples": [{"api_key": "sk-0123456789abcdefABCD"}],
    })),
    ReportBody => written(json!({
        "description": "What became of a lease",
        "oneOf": [
            object(&["outcome"], json!({"outcome": {"type": "string", "enum": ["used", "unused", "exhausted", "rejected"]}})),
            object(&["outcome"], json!({
                "outcome": {"type": "string", "enum": ["rate_limited"]},
                "retry_after_seconds": {
                    "type": ["integer", "null"], "minimum": 0, "maximum": MAX_USAGE_COUNT,
                    "description": "How long the key should rest; what the pool says where it is not there",
                },
            })),
        ],
        "examples": [{"outcome": "used"}],
    })),
    ChangeBody => written(json!({
        "type": "object",
        "description": "What is to be changed of a key: what is named, and nothing else",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": {
            "is_active": {"type": "boolean"},
            "usage_count": {"type": "integer", "minimum": 0, "maximum": MAX_USAGE_COUNT},
            "resting_until": {"type": "null", "description": "Ends its rest"},
            "note": {"type": ["string", "null"], "maxLength": MAX_NOTE},
            "api_key": Secret::schema(),
        },
        "examples": [{"is_active": true}],
    })),
    ResetBody => written(json!({
        "description": "Which keys are to be counted anew: these, or all",
        "oneOf": [
            object(&["ids"], json!({"ids": {"type": "array", "items": KeyId::schema(), "minItems": 1, "maxItems": MAX_IDS}})),
            object(&["all"], json!({"all": {"type": "boolean", "enum": [true]}})),
        ],
        "examples": [{"all": true}],
    })),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_stands() {
        for (schema, part) in [
            (KeyRefBody::schema(), r#""required":["api_key"]"#),
            (ReportBody::schema(), r#""enum":["rate_limited"]"#),
            (ChangeBody::schema(), r#""minProperties":1"#),
            (ResetBody::schema(), r#""maxItems":1000"#),
        ] {
            let text = serde_json::to_string(&schema).expect("a schema is JSON");
            assert!(text.contains(part), "{text}");
            assert!(!text.contains(r#""properties":{}"#), "{text}");
        }
    }
}
