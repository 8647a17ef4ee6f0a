//! A store for one test, with a back door to plant and read states that the trait cannot produce.

#[path = "../support/database.rs"]
mod database;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::{Bson, Document, doc, oid::ObjectId};
use keylend::domain::{
    EntryId, IdempotencyDigest, Key, KeyId, KeyRecord, KeyRef, LeaseId, NewKey, Outcome, Picks, Place, Policy,
    PoolName, Report, Secret, Timestamp,
};
use keylend::store::sqlite::SqliteStore;
use keylend::store::vault::Vault;
use keylend::store::{Added, LeaseAnswer, LeaseRequest, LeasedKey, Page, Seen, Settled, Store};
use mongodb::Database;

pub use self::database::vault;
use rusqlite::{Connection, OptionalExtension, params};

/// An hour, in milliseconds: far from now, in both directions.
pub const HOUR: i64 = 3_600_000;

/// The longest that a test waits for something to become true.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store, and what is behind it.
pub struct TestStore {
    pub store: Arc<dyn Store>,
    behind: Behind,
}

enum Behind {
    Sqlite(PathBuf),
    Mongodb(Database),
}

/// Runs a test on an embedded store in a directory of its own.
pub fn on_sqlite(test: impl AsyncFnOnce(&TestStore)) {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let file = folder.path().join("keylend.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be started").block_on(async {
        let store = open(&file, vault()).await;
        test(&TestStore { store, behind: Behind::Sqlite(file.clone()) }).await;
    });
}

/// Runs a test on a MongoDB database of its own.
pub fn on_mongodb(test: impl AsyncFnOnce(&TestStore)) {
    database::with_database(async |database| {
        let store = Arc::new(database::instance(database).await);
        test(&TestStore { store, behind: Behind::Mongodb(database.clone()) }).await;
    });
}

async fn open(file: &Path, vault: Vault) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(file, database::TIME_LIMIT, vault).await.expect("a file of keylend's own"))
}

/// A least recently used pool whose keys give so many uses.
pub fn least_recently_used(uses_per_key: u32) -> Policy {
    let encrypt = vault().has_keys();
    Policy { encrypt, ..Policy::new(name("stability"), Picks::LeastRecentlyUsed, uses_per_key) }
}

/// An in-order pool whose keys give so many uses.
pub fn in_order(uses_per_key: u32) -> Policy {
    Policy { encrypt: vault().has_keys(), ..Policy::new(name("plantid"), Picks::InOrder, uses_per_key) }
}

pub fn name(text: &str) -> PoolName {
    text.parse().expect("a pool name")
}

pub fn secret(text: &str) -> Secret {
    Secret::parse(text).expect("a secret")
}

/// So many keys after this place, in whatever state.
pub fn page(after: Option<Place>, limit: u32) -> Page {
    Page { after, limit, state: None }
}

/// Fresh keys of these secrets.
pub fn fresh(secrets: &[Secret]) -> Vec<NewKey> {
    secrets.iter().cloned().map(NewKey::fresh).collect()
}

/// A key as a test wants it in the store.
#[derive(Clone, Debug)]
pub struct Planted {
    pub id: KeyId,
    pub secret: String,
    pub usage_count: i64,
    pub last_used: Option<i64>,
    pub is_active: bool,
    pub disabled_reason: Option<&'static str>,
    pub resting_until: Option<i64>,
    pub order: Option<i64>,
    /// When each of its open leases ends.
    pub leases: Vec<i64>,
}

impl Planted {
    /// A fresh key. Ids ascend from call to call.
    pub fn new() -> Self {
        let id = ObjectId::new();
        Self {
            id: KeyId::from_bytes(id.bytes()),
            secret: format!("sk-{id}"),
            usage_count: 0,
            last_used: None,
            is_active: true,
            disabled_reason: None,
            resting_until: None,
            order: None,
            leases: Vec::new(),
        }
    }

    /// A fresh key with this count.
    pub fn counted(usage_count: i64) -> Self {
        Self { usage_count, ..Self::new() }
    }
}

/// What is stored of a key, besides what the trait shows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hidden {
    pub disabled_reason: Option<String>,
    pub order: Option<i64>,
}

impl TestStore {
    /// Prepares a pool and plants these keys in it.
    pub async fn pool(&self, policy: Policy, keys: &[Planted]) -> Policy {
        self.store.prepare(&policy).await.expect("the pool can be prepared");
        self.plant(&policy, keys).await;
        policy
    }

    /// The same store as another instance of keylend sees it.
    pub async fn another_instance(&self) -> Arc<dyn Store> {
        match &self.behind {
            Behind::Sqlite(file) => open(file, vault()).await,
            Behind::Mongodb(database) => Arc::new(database::instance(database).await),
        }
    }

    pub async fn plant(&self, pool: &Policy, keys: &[Planted]) {
        if keys.is_empty() {
            return;
        }
        match &self.behind {
            Behind::Sqlite(file) => {
                let mut connection = Connection::open(file).unwrap();
                let tx = connection.transaction().unwrap();
                for key in keys {
                    plant_row(&tx, pool, key);
                }
                tx.commit().unwrap();
            }
            Behind::Mongodb(database) => {
                let documents: Vec<Document> = keys.iter().map(|key| document(pool, key)).collect();
                database.collection(&pool.collection).insert_many(documents).await.unwrap();
            }
        }
    }

    /// Lets every open lease of the pool end in the past, unsettled.
    pub async fn let_leases_lapse(&self, pool: &Policy) {
        match &self.behind {
            Behind::Sqlite(file) => {
                let connection = Connection::open(file).unwrap();
                connection
                    .execute("UPDATE leases SET expires_at = 1 WHERE collection = ?1", [&pool.collection])
                    .unwrap();
            }
            Behind::Mongodb(database) => {
                let past = Bson::DateTime(bson::DateTime::from_millis(1));
                database
                    .collection::<Document>(&pool.collection)
                    .update_many(doc! {"leases.0": {"$exists": true}}, doc! {"$set": {"leases.$[].expires_at": past}})
                    .await
                    .unwrap();
            }
        }
    }

    /// Lets every key of the pool be as if it had never been used.
    pub async fn forget_use(&self, pool: &Policy) {
        match &self.behind {
            Behind::Sqlite(file) => {
                let connection = Connection::open(file).unwrap();
                connection.execute(&format!("UPDATE \"{}\" SET last_used = NULL", pool.collection), []).unwrap();
            }
            Behind::Mongodb(database) => {
                database
                    .collection::<Document>(&pool.collection)
                    .update_many(doc! {}, doc! {"$set": {"last_used": Bson::Null}})
                    .await
                    .unwrap();
            }
        }
    }

    /// Writes anything where the pool's policy is recorded.
    pub async fn spoil_recorded_policy(&self, pool: &Policy, value: &str) {
        let name = format!("policy:{}", pool.name);
        match &self.behind {
            Behind::Sqlite(file) => {
                let sql = "INSERT OR REPLACE INTO keylend_meta (name, value) VALUES (?1, ?2)";
                Connection::open(file).unwrap().execute(sql, (name, value)).unwrap();
            }
            Behind::Mongodb(database) => {
                let meta = database.collection::<Document>("keylend_meta");
                let spoil = doc! {"$set": {"policy": value}};
                meta.update_one(doc! {"_id": name}, spoil).upsert(true).await.unwrap();
            }
        }
    }

    /// The tables or collections that there are.
    pub async fn collections(&self) -> Vec<String> {
        let mut names = match &self.behind {
            Behind::Sqlite(file) => {
                let connection = Connection::open(file).unwrap();
                let mut names = connection.prepare("SELECT name FROM sqlite_schema").unwrap();
                names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect::<Vec<String>>()
            }
            Behind::Mongodb(database) => database.list_collection_names().await.unwrap(),
        };
        names.sort();
        names
    }

    /// Disables a key as an operator does.
    pub async fn switch_off(&self, pool: &Policy, id: KeyId, reason: &str) {
        match &self.behind {
            Behind::Sqlite(file) => {
                let sql =
                    format!("UPDATE \"{}\" SET is_active = 0, disabled_reason = ?2 WHERE id = ?1", pool.collection);
                Connection::open(file).unwrap().execute(&sql, (id.to_string(), reason)).unwrap();
            }
            Behind::Mongodb(database) => {
                let off = doc! {"$set": {"is_active": false, "disabled_reason": reason}};
                let keys = database.collection::<Document>(&pool.collection);
                keys.update_one(doc! {"_id": ObjectId::from_bytes(id.bytes())}, off).await.unwrap();
            }
        }
    }

    pub async fn hidden(&self, pool: &Policy, id: KeyId) -> Hidden {
        match &self.behind {
            Behind::Sqlite(file) => Connection::open(file)
                .unwrap()
                .query_row(
                    &format!("SELECT disabled_reason, \"order\" FROM \"{}\" WHERE id = ?1", pool.collection),
                    [id.to_string()],
                    |row| Ok(Hidden { disabled_reason: row.get(0)?, order: row.get(1)? }),
                )
                .optional()
                .unwrap()
                .expect("the key is stored"),
            Behind::Mongodb(database) => {
                let found = database
                    .collection::<Document>(&pool.collection)
                    .find_one(doc! {"_id": ObjectId::from_bytes(id.bytes())})
                    .await
                    .unwrap()
                    .expect("the key is stored");
                Hidden {
                    disabled_reason: found.get_str("disabled_reason").ok().map(str::to_owned),
                    order: found.get_i64("order").ok(),
                }
            }
        }
    }

    /// Secrets of an in-order pool by the place that was stored for each.
    pub async fn by_place(&self, pool: &Policy) -> Vec<String> {
        let mut all = Vec::new();
        for record in self.records(pool).await.value {
            let order = self.hidden(pool, record.key.id).await.order;
            all.push((order, record.key.id, record.key.secret.expect("a secret").expose().to_owned()));
        }
        all.sort();
        all.into_iter().map(|(.., secret)| secret).collect()
    }

    /// The same store as an instance with these keys sees it.
    pub async fn instance_with(&self, vault: Vault) -> Arc<dyn Store> {
        match &self.behind {
            Behind::Sqlite(file) => open(file, vault).await,
            Behind::Mongodb(database) => Arc::new(database::instance_with(database, vault).await),
        }
    }

    /// What is stored of a secret: `api_key`, `sealed` and `sealed_by`.
    pub async fn kept(&self, pool: &Policy, id: KeyId) -> (String, Option<Vec<u8>>, Option<String>) {
        match &self.behind {
            Behind::Sqlite(file) => {
                let sql = format!("SELECT api_key, sealed, sealed_by FROM \"{}\" WHERE id = ?1", pool.collection);
                let connection = Connection::open(file).unwrap();
                let kept = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                connection.query_row(&sql, [id.to_string()], kept).unwrap()
            }
            Behind::Mongodb(database) => {
                let keys = database.collection::<Document>(&pool.collection);
                let found = keys.find_one(doc! {"_id": ObjectId::from_bytes(id.bytes())}).await.unwrap().unwrap();
                let sealed = found.get_binary_generic("sealed").ok().cloned();
                let by = found.get_str("sealed_by").ok().map(str::to_owned);
                (found.get_str("api_key").unwrap().to_owned(), sealed, by)
            }
        }
    }

    /// Puts other bytes in the place of an encrypted secret.
    pub async fn reseal(&self, pool: &Policy, id: KeyId, sealed: Vec<u8>) {
        match &self.behind {
            Behind::Sqlite(file) => {
                let sql = format!("UPDATE \"{}\" SET sealed = ?2 WHERE id = ?1", pool.collection);
                Connection::open(file).unwrap().execute(&sql, (id.to_string(), sealed)).unwrap();
            }
            Behind::Mongodb(database) => {
                let keys = database.collection::<Document>(&pool.collection);
                let its_id = doc! {"_id": ObjectId::from_bytes(id.bytes())};
                keys.update_one(its_id, doc! {"$set": {"sealed": binary(sealed)}}).await.unwrap();
            }
        }
    }

    /// Who holds a lease, as it is stored.
    pub async fn leased_by(&self, pool: &Policy, leased: &LeasedKey) -> String {
        let entry = leased.entry.to_string();
        match &self.behind {
            Behind::Sqlite(file) => {
                let connection = Connection::open(file).unwrap();
                connection.query_row("SELECT by FROM leases WHERE entry = ?1", [entry], |row| row.get(0)).unwrap()
            }
            Behind::Mongodb(database) => {
                let keys = database.collection::<Document>(&pool.collection);
                let found = keys.find_one(doc! {"leases.id": &entry}).await.unwrap().expect("the lease is stored");
                let leases = found.get_array("leases").unwrap().iter().filter_map(Bson::as_document);
                let mut own =
                    leases.filter(|lease| lease.get_str("id").ok() == Some(&entry)).map(|lease| lease.get_str("by"));
                own.next_back().expect("the lease is stored").unwrap().to_owned()
            }
        }
    }

    /// The store's clock.
    pub async fn now(&self, pool: &Policy) -> Timestamp {
        self.store.list(pool, page(None, 1)).await.unwrap().now
    }

    /// An instant so many milliseconds from now, by the store's clock.
    pub async fn in_millis(&self, pool: &Policy, millis: i64) -> i64 {
        self.now(pool).await.as_millis() + millis
    }

    /// One key with all that is stored of it.
    pub async fn record(&self, pool: &Policy, id: KeyId) -> KeyRecord {
        self.store.show(pool, id).await.unwrap().expect("the key is there").value
    }

    pub async fn key(&self, pool: &Policy, id: KeyId) -> Key {
        self.seen(pool, id).await.value
    }

    pub async fn seen(&self, pool: &Policy, id: KeyId) -> Seen<Key> {
        self.store.look_up(pool, &KeyRef::Id(id)).await.unwrap().expect("the key is there")
    }

    /// The count and the number of open leases of a key.
    pub async fn uses(&self, pool: &Policy, id: KeyId) -> (u64, u64) {
        let key = self.key(pool, id).await;
        (key.usage_count.whole().expect("a valid count"), key.open_leases.expect("valid leases"))
    }

    pub async fn all(&self, pool: &Policy) -> Seen<Vec<Key>> {
        let Seen { value, now } = self.records(pool).await;
        Seen { value: value.into_iter().map(|record| record.key).collect(), now }
    }

    /// Every key with all that is stored of it.
    pub async fn records(&self, pool: &Policy) -> Seen<Vec<KeyRecord>> {
        self.store.list(pool, page(None, 100_000)).await.unwrap()
    }

    /// Adds fresh keys and tells what became of each.
    pub async fn add(&self, pool: &Policy, secrets: &[Secret]) -> Vec<Added> {
        let added = self.store.add(pool, &fresh(secrets)).await.unwrap();
        assert!(added.race_proof);
        added.verdicts
    }

    /// Finds a key, which must be there.
    pub async fn find(&self, pool: &Policy, uses_per_key: u32) -> KeyId {
        self.store.find_usable_key(pool, uses_per_key).await.unwrap().expect("a key is usable").id
    }

    /// Leases a key, which must be there, for five minutes.
    pub async fn lease(&self, pool: &Policy) -> LeasedKey {
        self.lease_as(pool, &request()).await
    }

    pub async fn lease_as(&self, pool: &Policy, request: &LeaseRequest) -> LeasedKey {
        match self.store.lease(pool, request).await.unwrap() {
            LeaseAnswer::New(leased) => leased,
            other => panic!("not a new lease: {other:?}"),
        }
    }

    /// Asserts that no key can be had in any way.
    pub async fn assert_no_usable_key(&self, pool: &Policy) {
        let leased = self.store.lease(pool, &request()).await.unwrap();
        assert!(matches!(leased, LeaseAnswer::NoUsableKey), "{leased:?}");
        let found = self.store.find_usable_key(pool, pool.uses_per_key).await.unwrap();
        assert!(found.is_none(), "{found:?}");
        let peeked = self.store.peek_usable_key(pool, pool.uses_per_key).await.unwrap();
        assert!(peeked.is_none(), "{peeked:?}");
        let taken = self.store.take(pool, 1).await.unwrap();
        assert!(taken.is_none(), "{taken:?}");
    }

    pub async fn report(&self, pool: &Policy, leased: &LeasedKey, outcome: Outcome) -> Option<Settled> {
        self.report_with(pool, leased, outcome, None).await
    }

    pub async fn report_with(
        &self,
        pool: &Policy,
        leased: &LeasedKey,
        outcome: Outcome,
        retry_after: Option<Duration>,
    ) -> Option<Settled> {
        let report = Report::new(outcome, retry_after).expect("a valid report");
        self.store.report(pool, &lease_id(pool, leased), report).await.unwrap()
    }
}

/// A request like no other, for five minutes.
pub fn request() -> LeaseRequest {
    request_for(Duration::from_secs(300))
}

/// A request like no other, for so long.
pub fn request_for(ttl: Duration) -> LeaseRequest {
    let entry = EntryId::from_bytes(rand::random());
    LeaseRequest { entry, ttl, by: "tester".to_owned(), idem: IdempotencyDigest::none(entry) }
}

/// A request with an Idempotency-Key.
pub fn repeatable(token: &str, pool: &Policy, idempotency_key: &str) -> LeaseRequest {
    LeaseRequest { idem: IdempotencyDigest::new(token, &pool.name, idempotency_key), by: token.to_owned(), ..request() }
}

pub fn lease_id(pool: &Policy, leased: &LeasedKey) -> LeaseId {
    LeaseId { pool: pool.name.clone(), key: leased.id, entry: leased.entry }
}

/// Asserts that an instant is between two others, all by the store's clock.
///
/// A server may tell its clock in several ways that round differently; a millisecond apart is the same instant.
pub fn assert_between(first: Timestamp, instant: Timestamp, last: Timestamp) {
    let [first, last] = [first.as_millis() - 1, last.as_millis() + 1];
    assert!((first..=last).contains(&instant.as_millis()), "{first} <= {} <= {last}", instant.as_millis());
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "it did not happen in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn binary(bytes: Vec<u8>) -> Bson {
    Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes })
}

fn plant_row(connection: &Connection, pool: &Policy, key: &Planted) {
    let sql = format!(
        "INSERT INTO \"{}\"
         (id, api_key, usage_count, last_used, is_active, disabled_reason, resting_until, \"order\", sealed, sealed_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        pool.collection
    );
    let id = key.id.to_string();
    let kept = vault().keep(pool, key.id, &secret(&key.secret));
    let (sealed, sealed_by) = kept.sealed.unzip();
    connection
        .execute(
            &sql,
            params![
                id,
                kept.api_key,
                key.usage_count,
                key.last_used,
                key.is_active,
                key.disabled_reason,
                key.resting_until,
                key.order,
                sealed,
                sealed_by
            ],
        )
        .unwrap();
    for expires_at in &key.leases {
        let entry = EntryId::from_bytes(rand::random()).to_string();
        connection
            .execute(
                "INSERT INTO leases (entry, collection, key, expires_at, by, idem) VALUES (?1, ?2, ?3, ?4, '', ?1)",
                params![entry, pool.collection, id, expires_at],
            )
            .unwrap();
    }
}

fn document(pool: &Policy, key: &Planted) -> Document {
    let kept = vault().keep(pool, key.id, &secret(&key.secret));
    let date = |millis: i64| Bson::DateTime(bson::DateTime::from_millis(millis));
    let mut document = doc! {
        "_id": ObjectId::from_bytes(key.id.bytes()),
        "api_key": kept.api_key,
        "usage_count": key.usage_count,
        "last_used": key.last_used.map(date),
        "is_active": key.is_active,
    };
    if let Some((bytes, by)) = kept.sealed {
        document.extend(doc! {"sealed": binary(bytes), "sealed_by": by});
    }
    if let Some(reason) = key.disabled_reason {
        document.insert("disabled_reason", reason);
    }
    if let Some(until) = key.resting_until {
        document.insert("resting_until", date(until));
    }
    if let Some(order) = key.order {
        document.insert("order", order);
    }
    if !key.leases.is_empty() {
        let entries = key.leases.iter().map(|expires_at| {
            let entry = EntryId::from_bytes(rand::random()).to_string();
            doc! {"id": &entry, "expires_at": date(*expires_at), "by": "", "idem": entry}
        });
        document.insert("leases", entries.collect::<Vec<_>>());
    }
    document
}
