//! A document as a key: what can be understood of each field, whatever another program wrote there.

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, RawDocumentBuf, Utf8Lossy, doc};

use super::expression;
use crate::domain::secret::STANDS_FOR;
use crate::domain::{
    DisabledReason, Key, KeyId, KeyRecord, OpenLease, Policy, Secret, Timestamp, UsageCount, Verdict, Verified,
};
use crate::store::StoreError;
use crate::store::vault::{Kept, NotOpened, Stored, Vault};

/// The document in these bytes. Text that is no UTF-8 is read with replacement characters, and so is no secret.
///
/// # Errors
/// Where the bytes are no document.
pub fn lossy(bytes: RawDocumentBuf) -> Result<Document, mongodb::error::Error> {
    Ok(Utf8Lossy::<Document>::try_from(&*bytes)?.0)
}

/// The fields that [`key`] reads, and the server's clock beside them. Of each only what can be understood: text that
/// is no UTF-8, anywhere in an answer, would make all of it unreadable.
pub(super) fn projection() -> Document {
    fields(doc! {})
}

/// The fields that [`record`] reads, as [`projection`] those of a key.
pub(super) fn record_projection() -> Document {
    let words = DisabledReason::ALL.map(DisabledReason::as_str);
    let mut fields = fields(doc! {"by": typed("$$lease.by", "string")});
    fields.extend(doc! {
        "order": {"$cond": [expression::has_order(), "$order", Bson::Null]},
        "disabled_reason": {"$cond": [{"$in": ["$disabled_reason", &words[..]]}, "$disabled_reason", Bson::Null]},
        "note": typed("$note", "string"),
        "added_at": typed("$added_at", "date"),
        "from_file": expression::is_from_file(),
        // Of each only what can be understood, as everywhere.
        "verified": {
            "at": typed("$verified.at", "date"),
            "verdict": {"$cond": [{"$in": ["$verified.verdict", &Verdict::WORDS[..]]}, "$verified.verdict", Bson::Null]},
            "credits": typed("$verified.credits", "double"),
        },
    });
    fields
}

/// A value where it is of this type, else null.
pub(super) fn typed(value: &str, of: &str) -> Document {
    doc! {"$cond": [{"$eq": [{"$type": value}, of]}, value, Bson::Null]}
}

/// The fields of a key, with these of each lease besides.
fn fields(of_lease: Document) -> Document {
    let has_text = doc! {"$eq": [{"$type": "$$lease.idem"}, "string"]};
    let date = |field: &str| typed(field, "date");
    let mut lease = doc! {"expires_at": date("$$lease.expires_at"), "idem": {"$cond": [has_text, "", Bson::Null]}};
    lease.extend(of_lease);
    let leases = doc! {"$map": {"input": "$leases", "as": "lease", "in": lease}};
    doc! {
        "api_key": {"$cond": [expression::is_kept(), "$api_key", Bson::Null]},
        "sealed": typed("$sealed", "binData"),
        "sealed_by": typed("$sealed_by", "string"),
        "unreadable": typed("$unreadable", "binData"),
        "usage_count": {"$cond": [expression::is_number(), "$usage_count", Bson::Null]},
        "last_used": date("$last_used"),
        "is_active": {"$eq": ["$is_active", true]},
        "resting_until": date("$resting_until"),
        "leases": {"$switch": {
            "branches": [
                {"case": {"$isArray": "$leases"}, "then": leases},
                {"case": {"$in": [{"$type": "$leases"}, ["missing", "null"]]}, "then": Bson::Null},
            ],
            "default": "no list",
        }},
        "now": expression::NOW,
    }
}

/// The fields of a secret, as [`secret`] reads them of a document that the filter has judged.
pub(super) fn secret_fields() -> Document {
    doc! {"api_key": 1, "sealed": 1, "sealed_by": 1}
}

/// The key in a document; None where its id is no ObjectId, by which nobody could name it.
#[doc(hidden)]
pub fn key(vault: &Vault, pool: &Policy, document: &Document) -> Option<Key> {
    let id = id(document)?;
    let leases = match document.get("leases") {
        None | Some(Bson::Null) => Some(&[][..]),
        Some(Bson::Array(leases)) if leases.iter().all(is_lease) => Some(leases.as_slice()),
        Some(_) => None,
    };
    Some(Key {
        id,
        secret: secret(vault, pool, document).ok(),
        usage_count: usage_count(document.get("usage_count")),
        last_used: instant(document.get("last_used")),
        is_active: matches!(document.get("is_active"), Some(Bson::Boolean(true))),
        open_leases: leases.map(|leases| leases.len() as u64),
        first_lease_ends_at: leases
            .unwrap_or_default()
            .iter()
            .filter_map(|lease| instant(lease.as_document()?.get("expires_at")))
            .min(),
        resting_until: instant(document.get("resting_until")),
    })
}

/// The key in a document with all that is stored of it; None as for [`key`].
#[doc(hidden)]
pub fn record(vault: &Vault, pool: &Policy, document: &Document) -> Option<KeyRecord> {
    let leases = document.get_array("leases").map(Vec::as_slice).unwrap_or_default();
    Some(KeyRecord {
        key: key(vault, pool, document)?,
        order: order(document.get("order")),
        leases: leases.iter().map(open_lease).collect(),
        disabled_reason: document.get_str("disabled_reason").ok().and_then(DisabledReason::of_word),
        note: document.get_str("note").ok().map(str::to_owned),
        added_at: instant(document.get("added_at")),
        from_file: document.get_bool("from_file").unwrap_or(false),
        verified: document.get_document("verified").ok().and_then(verified),
        sealed_by: sealed_by(document).map(str::to_owned),
    })
}

/// What is kept of the last verdict.
fn verified(kept: &Document) -> Option<Verified> {
    Verified::of(instant(kept.get("at")), kept.get_str("verdict").ok(), kept.get_f64("credits").ok())
}

/// An entry of the leases, whatever it is.
pub(super) fn open_lease(entry: &Bson) -> OpenLease {
    let field = |name: &str| entry.as_document().and_then(|entry| entry.get(name));
    OpenLease { by: field("by").and_then(Bson::as_str).map(str::to_owned), expires_at: instant(field("expires_at")) }
}

fn order(value: Option<&Bson>) -> Option<i64> {
    match value {
        Some(Bson::Int32(order)) => Some(i64::from(*order)),
        Some(Bson::Int64(order)) => Some(*order),
        _ => None,
    }
}

/// Whether an entry of the leases is one, whoever wrote it; the rule of `expression::has_leases_or_none`.
fn is_lease(entry: &Bson) -> bool {
    entry.as_document().is_some_and(|entry| entry.get_str("idem").is_ok())
}

pub(super) fn id(document: &Document) -> Option<KeyId> {
    match document.get("_id") {
        Some(Bson::ObjectId(id)) => Some(KeyId::from_bytes(id.bytes())),
        _ => None,
    }
}

/// What [`described_id`] describes an id by.
pub(super) fn id_to_describe() -> Document {
    // Text could be a secret, and large: of an id like that no more than its type is read.
    let shown = doc! {"$in": [{"$type": "$_id"}, ["objectId", "int", "long"]]};
    doc! {"type": {"$type": "$_id"}, "value": {"$cond": [shown, "$_id", Bson::Null]}}
}

/// An id in words, of what [`id_to_describe`] gives of it.
pub(super) fn described_id(id: &Document) -> String {
    match id.get("value") {
        Some(Bson::ObjectId(id)) => id.to_hex(),
        Some(Bson::Int32(number)) => format!("the number {number}"),
        Some(Bson::Int64(number)) => format!("the number {number}"),
        _ => format!("an _id that is {}", type_in_words(id.get_str("type").unwrap_or_default())),
    }
}

/// The name that the server gives to the type of a value, in words.
pub(super) fn type_in_words(name: &str) -> &'static str {
    match name {
        "missing" => "missing",
        "null" => "null",
        "undefined" => "undefined",
        "string" => "text",
        "int" | "long" | "double" => "a number",
        "decimal" => "a decimal number",
        "object" => "a document",
        "array" => "a list",
        "binData" => "binary data",
        "objectId" => "an ObjectId",
        "bool" => "true or false",
        "date" => "a date",
        "timestamp" => "a timestamp",
        "regex" => "a regular expression",
        "javascript" | "javascriptWithScope" => "code",
        "symbol" => "a symbol",
        "minKey" | "maxKey" => "an end of the order",
        _ => "of a type that keylend does not know",
    }
}

/// The secret of a document.
///
/// # Errors
/// Why it has none.
pub(super) fn secret(vault: &Vault, pool: &Policy, document: &Document) -> Result<Secret, NotOpened> {
    let (id, stored) = id(document).zip(stored(document)).ok_or(NotOpened::NoSecret)?;
    vault.open(pool, id, stored)
}

/// What is stored of the secret of a document; None = no text at all.
pub(super) fn stored(document: &Document) -> Option<Stored<'_>> {
    let bytes = |field: &str| binary_in(document, field).map(|binary| binary.bytes.as_slice());
    Some(Stored {
        api_key: document.get("api_key")?.as_str()?,
        sealed: bytes("sealed"),
        sealed_by: document.get_str("sealed_by").ok(),
        unreadable: bytes("unreadable"),
    })
}

/// The bytes in a field of a document.
pub(super) fn binary_in<'a>(document: &'a Document, field: &str) -> Option<&'a Binary> {
    match document.get(field) {
        Some(Bson::Binary(binary)) => Some(binary),
        _ => None,
    }
}

/// The name of the key that the secret of a document is encrypted with; None = it is not.
pub(super) fn sealed_by(document: &Document) -> Option<&str> {
    let is_sealed = document.get_str("api_key").is_ok_and(|text| text.starts_with(STANDS_FOR));
    document.get_str("sealed_by").ok().filter(|_| is_sealed)
}

/// Whether this text, a document's `api_key`, stands for a secret that is encrypted beside it; the rule of
/// `expression::is_secret`.
pub fn is_sealed(document: &Document, api_key: &str) -> bool {
    let digest = api_key.strip_prefix(STANDS_FOR).unwrap_or_default();
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_open = binary_in(document, "sealed").is_some() && document.get("sealed") != document.get("unreadable");
    is_digest && is_open && document.get_str("sealed_by").is_ok()
}

/// The fields of a kept secret: those that it does not have are taken away.
pub(super) fn kept(kept: &Kept) -> Document {
    let (sealed, sealed_by) = match &kept.sealed {
        Some((bytes, by)) => (binary(bytes), Bson::Document(doc! {"$literal": by})),
        None => ("$$REMOVE".into(), "$$REMOVE".into()),
    };
    let api_key = doc! {"$literal": &kept.api_key};
    doc! {"api_key": api_key, "sealed": sealed, "sealed_by": sealed_by, "unreadable": "$$REMOVE"}
}

/// Bytes as BSON keeps them.
pub(super) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
}

/// The stored count of a document.
pub fn usage_count(value: Option<&Bson>) -> UsageCount {
    match value {
        Some(Bson::Int32(number)) => UsageCount::from_i64(i64::from(*number)),
        Some(Bson::Int64(number)) => UsageCount::from_i64(*number),
        Some(Bson::Double(number)) => UsageCount::from_f64(*number),
        _ => UsageCount::NotANumber,
    }
}

/// A stored instant; None for what is no date.
pub fn instant(value: Option<&Bson>) -> Option<Timestamp> {
    match value {
        Some(Bson::DateTime(date)) => Some(Timestamp::from_millis(date.timestamp_millis())),
        _ => None,
    }
}

/// A key that the filter has already judged to be valid: its id and count, and the instant `field` of its document.
pub(super) fn handed_out(document: &Document, field: &str) -> Result<(KeyId, u64, Timestamp), StoreError> {
    let parts = || {
        let count = usage_count(document.get("usage_count")).whole()?;
        Some((id(document)?, count, instant(document.get(field))?))
    };
    parts().ok_or_else(|| StoreError::Unresolved("a document changed its shape while it was handed out".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::oid::ObjectId;

    fn key(document: &Document) -> Option<Key> {
        super::key(&Vault::default(), &Policy::built_in()[0], document)
    }

    #[test]
    fn each_field_gives_what_can_be_understood_of_it() {
        let id = ObjectId::new();
        let date = |millis| Bson::DateTime(bson::DateTime::from_millis(millis));
        let seen = key(&doc! {
            "_id": id, "api_key": "sk-1", "usage_count": 2.0, "last_used": date(7), "is_active": true,
            "resting_until": date(9), "leases": [
                {"idem": "a", "expires_at": date(5)}, {"idem": "b"}, {"idem": "c", "expires_at": "x"},
                {"idem": "d", "expires_at": date(4)},
            ],
        })
        .expect("an ObjectId");
        assert_eq!(seen.id.bytes(), id.bytes());
        assert_eq!(seen.secret.expect("valid").expose(), "sk-1");
        assert_eq!((seen.usage_count, seen.is_active, seen.open_leases), (UsageCount::Whole(2), true, Some(4)));
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!((seen.last_used, seen.resting_until, seen.first_lease_ends_at), (at(7), at(9), at(4)));

        let odd = key(&doc! {
            "_id": id, "api_key": 5, "usage_count": "3", "last_used": "today", "is_active": 1, "resting_until": true,
            "leases": "x",
        })
        .expect("an ObjectId");
        assert!(odd.secret.is_none() && !odd.is_active && odd.open_leases.is_none());
        assert_eq!((odd.usage_count, odd.last_used, odd.resting_until), (UsageCount::NotANumber, None, None));

        for leases in [doc! {}.into(), bson::bson!([3]), bson::bson!([{"idem": 3}]), bson::bson!([{"idem": "a"}, {}])] {
            let odd = key(&doc! {"_id": id, "leases": leases}).expect("an ObjectId");
            assert_eq!((odd.open_leases, odd.first_lease_ends_at), (None, None));
        }

        let bare = key(&doc! {"_id": id}).expect("an ObjectId");
        assert_eq!((bare.open_leases, bare.first_lease_ends_at), (Some(0), None));
        assert!(key(&doc! {"_id": "x"}).is_none());
    }

    #[test]
    fn every_number_type_counts() {
        for (value, count) in [
            (Bson::Int32(3), UsageCount::Whole(3)),
            (Bson::Int64(3), UsageCount::Whole(3)),
            (Bson::Double(3.0), UsageCount::Whole(3)),
            (Bson::Double(0.7), UsageCount::Odd(0.7)),
            (Bson::Null, UsageCount::NotANumber),
        ] {
            assert_eq!(usage_count(Some(&value)), count);
        }
        assert_eq!(usage_count(None), UsageCount::NotANumber);
    }
}
