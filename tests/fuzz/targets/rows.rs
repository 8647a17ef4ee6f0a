//! Rows of the embedded store, as another program can write them: whatever the table's own checks let in. An input is a
//! JSON object of columns and their values; a list of numbers is text of these bytes, one as `bytes` of an object the bytes.

use std::time::Duration;

use keylend::domain::state::state;
use keylend::domain::{EntryId, IdempotencyDigest, KeyId, KeyRecord, KeyRef, State, Timestamp};
use keylend::store::{LeaseAnswer, LeaseRequest, Page, Seen, Store, StoreError};
use keylend::wire::record::KeyRecordReply;
use rusqlite::types::Value as Stored;
use rusqlite::{Connection, params_from_iter};
use serde_json::Value;

use super::embedded::{Embedded, Kept};
use super::{assert_secret, assert_untold, written_out};

static KEPT: Kept = Kept::new();

/// The columns of a pool's table.
const COLUMNS: [&str; 17] = [
    "id",
    "api_key",
    "usage_count",
    "last_used",
    "is_active",
    "resting_until",
    "disabled_reason",
    "order",
    "note",
    "added_at",
    "from_file",
    "verified_at",
    "verdict",
    "credits",
    "sealed",
    "sealed_by",
    "unreadable",
];

/// The columns of a lease that another program can fill.
const OF_LEASE: [&str; 2] = ["by", "expires_at"];

const ID: KeyId = KeyId::from_bytes([7; 12]);

/// Every operation sees the same key in a row, and hands it out exactly where that key is usable. What cannot be read is
/// told without its text.
pub fn rows(input: &[u8]) {
    let Ok(row) = serde_json::from_slice::<Value>(&written_out(input)) else { return };
    if !row.is_object() {
        return;
    }
    KEPT.with(|embedded| {
        let connection = Connection::open(embedded.file()).expect("the file can be opened");
        connection.pragma_update(None, "synchronous", "OFF").expect("it can be set");
        if insert(&connection, &embedded.policy.collection, &row) {
            embedded.runtime.block_on(look(embedded, &row));
        }
        let clear = format!("DELETE FROM \"{}\"; DELETE FROM leases", embedded.policy.collection);
        connection.execute_batch(&clear).expect("all can be deleted");
    });
}

/// A value as SQLite keeps it, and how it is written.
fn value(json: &Value) -> (Stored, &'static str) {
    match json {
        Value::Null => (Stored::Null, "?"),
        Value::Bool(truth) => (Stored::Integer(i64::from(*truth)), "?"),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => (Stored::Integer(whole), "?"),
            None => (number.as_f64().map_or(Stored::Null, Stored::Real), "?"),
        },
        Value::String(text) => (Stored::Text(text.clone()), "?"),
        Value::Array(bytes) => {
            let bytes = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok());
            (Stored::Blob(bytes.collect()), "CAST(? AS TEXT)")
        }
        // Bytes as they are.
        Value::Object(members) => {
            let bytes = members.get("bytes").and_then(Value::as_array).into_iter().flatten();
            (Stored::Blob(bytes.filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()), "?")
        }
    }
}

/// Writes the row and its leases. False = the table's checks let it not in.
fn insert(connection: &Connection, table: &str, row: &Value) -> bool {
    let id = Value::from(ID.to_string());
    let columns = COLUMNS.into_iter().filter_map(|name| Some((name, row.get(name)?)));
    let own_id = (row.get("id").is_none()).then_some(("id", &id));
    if insert_into(connection, table, own_id.into_iter().chain(columns)).is_err() {
        return false;
    }
    let (of, table) = (Value::from(table), "leases");
    row.get("leases").and_then(Value::as_array).into_iter().flatten().enumerate().all(|(number, lease)| {
        let entry = Value::from(format!("{number:032x}"));
        let own = [("entry", &entry), ("collection", &of), ("key", row.get("id").unwrap_or(&id))];
        let columns = OF_LEASE.into_iter().filter_map(|name| Some((name, lease.get(name)?)));
        insert_into(connection, table, own.into_iter().chain(columns)).is_ok()
    })
}

fn insert_into<'a>(
    connection: &Connection,
    table: &str,
    columns: impl Iterator<Item = (&'a str, &'a Value)>,
) -> rusqlite::Result<usize> {
    let (names, values): (Vec<_>, Vec<_>) = columns.map(|(name, json)| (format!("\"{name}\""), value(json))).unzip();
    let (values, places): (Vec<_>, Vec<_>) = values.into_iter().unzip();
    let insert = format!("INSERT INTO \"{table}\" ({}) VALUES ({})", names.join(", "), places.join(", "));
    connection.execute(&insert, params_from_iter(values))
}

/// What an operation says of a row that it may not be able to read.
fn told<T>(asked: Result<T, StoreError>) -> Option<T> {
    asked.map_err(|error| assert_untold(&format!("{} {error:?}", error.chain()))).ok()
}

async fn look(embedded: &Embedded, row: &Value) {
    let (store, pool) = (&*embedded.store, &embedded.policy);
    let all = Page { after: None, limit: 10, state: None };
    let listed = told(store.list(pool, all).await);
    let examined = told(store.examine(pool, 10).await);
    let listed = listed.unwrap_or_else(|| panic!("it cannot be listed: {row}"));
    let [record] = &listed.value[..] else { panic!("{} keys are listed", listed.value.len()) };
    assert_record(embedded, record, listed.now);
    let now = state(&record.key, pool.uses_per_key, listed.now);
    assert_eq!(examined.map(|examined| examined.invalid), Some(u64::from(now == State::Invalid)), "{row}");
    // Where a rest or a lease ends meanwhile, it has another state.
    let later = state(&record.key, pool.uses_per_key, listed.now.plus(Duration::from_secs(600)));
    if now != later && now != State::Usable {
        return;
    }
    for wanted in State::ALL {
        let part = store.list(pool, Page { state: Some(wanted), ..all }).await.expect("it was listed");
        assert_eq!(part.value.len(), usize::from(wanted == now), "{wanted:?}: {row}");
    }
    let stats = store.stats(pool, pool.uses_per_key).await.expect("it was listed");
    State::ALL.iter().for_each(|state| assert_eq!(stats.keys.of(*state), u64::from(*state == now), "{state:?}: {row}"));
    assert_found(embedded, record).await;
    assert_handed_out(embedded, record, now, row).await;
}

fn assert_record(embedded: &Embedded, record: &KeyRecord, now: Timestamp) {
    if let Some(secret) = &record.key.secret {
        assert_secret(secret);
    }
    assert_eq!(record.key.open_leases, Some(record.leases.len() as u64));
    let first = record.leases.iter().filter_map(|lease| lease.expires_at).min();
    assert_eq!(record.key.first_lease_ends_at, first);
    assert!(record.verified.is_none_or(|verified| verified.credits.is_none_or(f64::is_finite)));
    let mut without_words = KeyRecord { note: None, ..record.clone() };
    without_words.leases.iter_mut().for_each(|lease| lease.by = None);
    let shown = serde_json::to_string(&KeyRecordReply::new(&embedded.policy, &without_words, now));
    assert_untold(&shown.expect("it can be shown"));
}

/// By its id, and by its secret.
async fn assert_found(embedded: &Embedded, record: &KeyRecord) {
    let (store, pool) = (&*embedded.store, &embedded.policy);
    let id = record.key.id;
    let seen = |found: Option<Seen<_>>| found.map(|found| format!("{:?}", found.value));
    let shown = store.show(pool, id).await.expect("it was listed");
    assert_eq!(seen(shown).as_deref(), Some(format!("{record:?}").as_str()));
    let names = [Some(KeyRef::Id(id)), record.key.secret.clone().map(KeyRef::Secret)];
    for name in names.into_iter().flatten() {
        let found = store.look_up(pool, &name).await.expect("it was listed");
        assert_eq!(found.map(|found| found.value.id), Some(id));
    }
}

/// A key is handed out where it is usable, and nowhere else.
async fn assert_handed_out(embedded: &Embedded, record: &KeyRecord, state: State, row: &Value) {
    let (store, pool) = (&*embedded.store, &embedded.policy);
    let secret = record.key.secret.as_ref().map(|secret| secret.expose().to_owned());
    let entry = EntryId::from_bytes([9; 16]);
    let request =
        LeaseRequest { entry, ttl: Duration::from_secs(60), by: String::new(), idem: IdempotencyDigest::none(entry) };
    let found = store.find_usable_key(pool, pool.uses_per_key).await.map_err(|error| error.chain());
    let found = found.unwrap_or_else(|error| panic!("{error}: {row}"));
    assert_eq!(found.map(|found| found.secret.expose().to_owned()), secret.clone().filter(|_| state == State::Usable));
    match store.lease(pool, &request).await.expect("it was found") {
        LeaseAnswer::New(leased) => {
            assert_eq!((Some(leased.secret.expose()), state), (secret.as_deref(), State::Usable))
        }
        LeaseAnswer::NoUsableKey | LeaseAnswer::SameUnreadable => assert_ne!(state, State::Usable, "{row}"),
        LeaseAnswer::Same(_) => panic!("it was asked once"),
    }
}
