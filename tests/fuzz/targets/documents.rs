//! Documents of MongoDB, whatever another program wrote there: as extended JSON, or as the bytes of BSON.

use bson::oid::ObjectId;
use bson::{Bson, Document, RawArray, RawBsonRef, RawDocument, RawDocumentBuf};
use keylend::domain::key::MAX_USAGE_COUNT;
use keylend::domain::state::state;
use keylend::domain::{Key, KeyId, KeyRecord, NewKey, OpenLease, Place, Policy, State, Timestamp, UsageCount};
use keylend::store::mongodb::document::{self, instant, lossy};
use keylend::store::mongodb::stored;
use keylend::store::vault::Vault;
use keylend::wire::record::KeyRecordReply;

use super::{all_of, assert_key, assert_secret, assert_untold, written_out};

const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_678);

/// How deep a document can be: no MongoDB stores a deeper one.
const LEVELS: usize = 200;

/// Of any document that much is a key as can be understood of it, and no more; a key is written as a document and read
/// again with nothing lost.
pub fn documents(input: &[u8]) {
    let Some(document) = document(input) else { return };
    let bytes = RawDocumentBuf::try_from(&document).expect("a document has bytes");
    let again = lossy(bytes.clone()).expect("what was written is read");
    // Compared by bytes: a number that is none is not equal to itself.
    assert_eq!(RawDocumentBuf::try_from(&again).map(RawDocumentBuf::into_bytes).ok(), Some(bytes.into_bytes()));
    let Some(record) = record(&document) else {
        return assert!(!matches!(document.get("_id"), Some(Bson::ObjectId(_))));
    };
    assert_eq!(format!("{:?}", key(&document)), format!("{:?}", Some(&record.key)));
    assert_fields(&document, &record);
    assert_leases(&document, &record);
    assert_state(&record);
    assert_shown(&record);
    if let Some(key) = as_new(&record) {
        assert_written(&record, &key);
    }
}

fn pool() -> Policy {
    let [stability, ..] = Policy::built_in();
    stability
}

fn key(document: &Document) -> Option<Key> {
    document::key(&Vault::default(), &pool(), document)
}

fn record(document: &Document) -> Option<KeyRecord> {
    document::record(&Vault::default(), &pool(), document)
}

/// The document of an input; None where it is none that a server would store.
fn document(input: &[u8]) -> Option<Document> {
    let text = written_out(input);
    let json = if text.trim_ascii_start().first() == Some(&b'{') { serde_json::from_slice(&text).ok() } else { None };
    json.or_else(|| {
        let bytes = RawDocumentBuf::from_bytes(input.to_vec()).ok()?;
        if is_deeper(&bytes, LEVELS) { None } else { lossy(bytes).ok() }
    })
}

/// Whether a document has more than so many levels.
fn is_deeper(document: &RawDocument, levels: usize) -> bool {
    let is_deeper = |value: RawBsonRef<'_>| match value {
        RawBsonRef::Document(inner) => is_deeper(inner, levels - 1),
        RawBsonRef::Array(inner) => is_list_deeper(inner, levels - 1),
        RawBsonRef::JavaScriptCodeWithScope(code) => is_deeper(code.scope, levels - 1),
        _ => false,
    };
    levels == 0 || document.iter().flatten().any(|(_, value)| is_deeper(value))
}

/// The same of a list, whose places are the names of a document.
fn is_list_deeper(list: &RawArray, levels: usize) -> bool {
    RawDocument::from_bytes(list.as_bytes()).is_ok_and(|places| is_deeper(places, levels))
}

fn assert_fields(document: &Document, record: &KeyRecord) {
    let key = &record.key;
    assert_eq!(document.get("_id"), Some(&Bson::ObjectId(object_id(key.id))));
    assert_eq!(key.is_active, document.get("is_active") == Some(&Bson::Boolean(true)));
    if let Some(secret) = &key.secret {
        assert_secret(secret);
        assert_eq!(document.get("api_key").and_then(Bson::as_str), Some(secret.expose()));
    }
    match (key.usage_count, document.get("usage_count")) {
        (UsageCount::Whole(count), Some(stored)) => {
            assert!(count <= MAX_USAGE_COUNT);
            let same = [stored.as_i32().map(f64::from), stored.as_i64().map(|n| n as f64), stored.as_f64()];
            assert!(same.contains(&Some(count as f64)), "{count} of {stored}");
        }
        (UsageCount::Odd(number), Some(_)) => assert!(number.is_finite(), "{number}"),
        (UsageCount::NotANumber, stored) => {
            let is_whole = stored.is_some_and(|stored| stored.as_i32().is_some() || stored.as_i64().is_some());
            assert!(!is_whole && stored.and_then(Bson::as_f64).is_none_or(|number| !number.is_finite()));
        }
        (count, None) => panic!("{count:?} of nothing"),
    }
    for (name, seen) in
        [("last_used", key.last_used), ("resting_until", key.resting_until), ("added_at", record.added_at)]
    {
        assert_eq!(seen, instant(document.get(name)), "{name}");
    }
    assert_eq!(record.note.as_deref(), document.get_str("note").ok());
    assert_eq!(record.from_file, document.get("from_file") == Some(&Bson::Boolean(true)));
    assert!(record.verified.is_none_or(|verified| verified.credits.is_none_or(f64::is_finite)));
}

fn assert_leases(document: &Document, record: &KeyRecord) {
    let there = document.get_array("leases").map_or(0, Vec::len);
    assert_eq!(record.leases.len(), there);
    assert!(record.key.open_leases.is_none_or(|open| open == there as u64));
    let first = record.leases.iter().filter_map(|lease| lease.expires_at).min();
    assert_eq!(record.key.first_lease_ends_at, first.filter(|_| record.key.open_leases.is_some()));
}

fn assert_state(record: &KeyRecord) {
    let key = &record.key;
    let is_valid = key.secret.is_some() && key.usage_count.whole().is_some() && key.open_leases.is_some();
    for uses_per_key in [1, 4, u32::MAX] {
        let state = state(key, uses_per_key, NOW);
        assert_eq!(state != State::Invalid, is_valid);
        assert!(key.left(uses_per_key) <= u64::from(uses_per_key));
        assert!(state != State::Usable || (key.is_active && key.left(uses_per_key) > 0));
    }
    let place = record.place();
    assert_eq!(place.to_string().parse::<Place>(), Ok(place));
}

/// An operator is shown no secret. The words of others are shown as they are.
fn assert_shown(record: &KeyRecord) {
    let leases = record.leases.iter().map(|lease| OpenLease { by: None, ..lease.clone() }).collect();
    let without_words = KeyRecord { note: None, leases, ..record.clone() };
    let [policy, ..] = Policy::built_in();
    let shown = serde_json::to_string(&KeyRecordReply::new(&policy, &without_words, NOW)).expect("it can be shown");
    assert_untold(&shown);
    assert_untold(&format!("{without_words:?}"));
}

/// The key as it would be added anew; None where it is none.
fn as_new(record: &KeyRecord) -> Option<NewKey> {
    Some(NewKey {
        secret: record.key.secret.clone()?,
        id: Some(record.key.id),
        usage_count: record.key.usage_count.whole()?,
        last_used: record.key.last_used,
        is_active: record.key.is_active,
        resting_until: record.key.resting_until,
        disabled_reason: record.disabled_reason,
        note: record.note.clone(),
        added_at: record.added_at,
        from_file: record.from_file,
    })
}

fn assert_written(record: &KeyRecord, new: &NewKey) {
    assert_key(new);
    let kept = Vault::default().keep(&pool(), record.key.id, &new.secret);
    let document = stored(new, object_id(record.key.id), kept, record.order, NOW);
    let bytes = RawDocumentBuf::try_from(&document).expect("a document has bytes");
    let read = lossy(bytes).expect("what was written is read");
    let again = self::record(&read).expect("what was written is a key");
    let expected = NewKey { added_at: Some(new.added_at.unwrap_or(NOW)), ..new.clone() };
    assert_eq!(all_of(&as_new(&again).expect("what was written is a key")), all_of(&expected));
    assert_eq!((again.order, again.key.open_leases), (record.order, Some(0)));
    assert!(again.leases.is_empty() && again.verified.is_none());
}

fn object_id(id: KeyId) -> ObjectId {
    ObjectId::from_bytes(id.bytes())
}
