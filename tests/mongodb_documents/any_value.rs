//! Any BSON in any field is judged as the domain judges it, never stops a pool, and is never overwritten where it is
//! not keylend's to change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bson::{Bson, Document, doc, oid::ObjectId};
use futures_util::TryStreamExt;
use keylend::domain::state::state;
use keylend::domain::stats::{Besides, Gathering, Group};
use keylend::domain::{
    DisabledReason, EntryId, IdempotencyDigest, Key, KeyChange, KeyId, KeyRecord, KeyRef, LeaseId, NewKey, Outcome,
    Picks, Policy, Report, Rest, Secret, State, Timestamp, UsageCount, Verdict,
};
use keylend::store::mongodb::MongoStore;
use keylend::store::{Added, Brought, Changed, Incremented, LeaseAnswer, LeaseRequest, LeasedKey, Page, Seen, Store};
use mongodb::error::ErrorKind;
use mongodb::{Collection, Database};

use crate::database;
use crate::every_value::every_value;

/// What a key of these pools gives: more than the small counts among [`every_value`].
const USES: u32 = 6;

/// Makes a test of a pick and of the fields in which every value is planted, each a path of the document.
macro_rules! every_value_in {
    ($($test:ident: $picks:ident $fields:expr),+ $(,)?) => {
        $(#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
        #[test]
        fn $test() {
            database::with_database(async |database| {
                let policy = Policy::new("planted".parse().unwrap(), Picks::$picks, USES);
                Planting::new(database, policy, &$fields).await.holds().await;
            });
        })+
    };
}

every_value_in! {
    any_id_is_borne: LeastRecentlyUsed ["_id"],
    any_api_key_is_borne: LeastRecentlyUsed ["api_key"],
    any_usage_count_is_borne: LeastRecentlyUsed ["usage_count"],
    any_usage_count_is_borne_in_order: InOrder ["usage_count"],
    any_last_used_is_borne: LeastRecentlyUsed ["last_used"],
    any_is_active_is_borne: LeastRecentlyUsed ["is_active"],
    any_leases_are_borne: LeastRecentlyUsed ["leases"],
    any_entry_of_the_leases_is_borne: LeastRecentlyUsed ["leases.0"],
    any_id_of_a_lease_is_borne: LeastRecentlyUsed ["leases.0.id"],
    any_end_of_a_lease_is_borne: LeastRecentlyUsed ["leases.0.expires_at"],
    any_digest_of_a_lease_is_borne: LeastRecentlyUsed ["leases.0.idem"],
    any_resting_until_is_borne: LeastRecentlyUsed ["resting_until"],
    any_order_is_borne: InOrder ["order", "last_used"],
    any_mark_of_a_file_is_borne: InOrder ["from_file"],
    any_reason_is_borne: InOrder ["disabled_reason"],
    any_verdict_is_borne: LeastRecentlyUsed ["verified"],
    any_part_of_a_verdict_is_borne: LeastRecentlyUsed ["verified.at", "verified.verdict", "verified.credits"],
    any_value_of_a_field_that_decides_nothing_is_borne:
        LeastRecentlyUsed ["mark", "note", "added_at", "leases.0.by", "credits_left", "extra"],
}

/// A pool with one document for each value in some fields, beside two good keys.
struct Planting {
    store: MongoStore,
    documents: Collection<Document>,
    pool: Policy,
    fields: &'static [&'static str],
}

/// All documents of a pool by their id as text, each field as its bytes.
type Snapshot = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

impl Planting {
    async fn new(database: &Database, pool: Policy, fields: &'static [&'static str]) -> Self {
        let store = database::instance(database).await;
        // What a unique index would refuse was there before it.
        let collides = fields == ["leases.0"] || fields == ["leases.0.idem"];
        if !collides {
            assert_eq!(store.prepare(&pool).await.unwrap(), Vec::<String>::new());
        }
        let documents = database.collection::<Document>(&pool.collection);
        let planted = every_value().into_iter().enumerate().map(|(n, value)| {
            let mut document = good_key(n);
            for field in fields {
                plant(&mut document, field, value.clone());
            }
            document
        });
        let all: Vec<Document> = planted.chain([good_key(900), good_key(901)]).collect();
        let inserted = documents.insert_many(&all).ordered(false).await;
        let refused = match inserted.map_err(|error| *error.kind) {
            Ok(_) => Vec::new(),
            Err(ErrorKind::InsertMany(error)) => error.write_errors.unwrap_or_default(),
            Err(other) => panic!("{other:?}"),
        };
        // A server has its own mind about what can be an id.
        assert!(refused.is_empty() || fields == ["_id"] && refused.len() < 20, "{fields:?}: {refused:?}");
        let planting = Self { store, documents, pool, fields };
        assert_eq!(planting.store.prepare(&planting.pool).await.unwrap().len(), usize::from(collides));
        planting
    }

    /// Every operation, one after another, with a look at all documents after each.
    async fn holds(&self) {
        self.reading_changes_nothing().await;
        self.each_key_is_seen().await;
        self.a_sweep_settles_what_lapsed().await;
        self.planted_leases_are_settled_by_their_ids().await;
        let leases = self.exactly_what_is_left_is_leased().await;
        self.new_leases_are_renewed_and_settled(leases).await;
        self.exactly_what_is_left_is_taken().await;
        self.what_can_be_counted_is_counted().await;
        self.keys_are_added_and_found().await;
        self.a_file_brings_its_keys_and_withdraws_them().await;
        self.verdicts_change_only_what_they_mean().await;
        self.operators_change_only_what_they_mean().await;
        self.counts_are_reset().await;
        self.reading_changes_nothing().await;
        self.keys_are_removed().await;
    }

    async fn reading_changes_nothing(&self) {
        let before = self.snapshot().await;
        let listed = self.list().await;
        let with_object_id = before.keys().filter(|id| id.starts_with("ObjectId(")).count();
        assert_eq!(listed.len(), with_object_id);
        for uses in [1, USES, 300] {
            let seen = self.store.stats(&self.pool, uses).await.unwrap();
            let mut gathering = Gathering::new(uses, seen.generated_at);
            for key in &listed {
                gathering.add(&Group::of(key, &self.pool, uses, seen.generated_at));
            }
            let expected = gathering.finish(Besides {
                needs_migration: seen.needs_migration,
                rejected: seen.rejected,
                key_requests: 0,
            });
            // Documents that no id names are counted as invalid, and in nothing else.
            let unnamed = (before.len() - with_object_id) as u64;
            for state in State::ALL {
                let unnamed = if state == State::Invalid { unnamed } else { 0 };
                assert_eq!(seen.keys.of(state), expected.keys.of(state) + unnamed, "{:?}: {state:?}", self.fields);
            }
            if unnamed == 0 {
                assert_eq!(seen, expected, "{:?}", self.fields);
            }
        }
        self.store.peek_usable_key(&self.pool, USES).await.unwrap();
        self.every_state_is_listed_apart().await;
        self.what_is_invalid_is_told_with_its_reasons(before.len() as u64).await;
        assert_eq!(self.changed_since(&before).await, BTreeMap::new(), "{:?}", self.fields);
    }

    async fn every_state_is_listed_apart(&self) {
        let all = self.records().await;
        let mut in_order = all.value.clone();
        if self.pool.picks == Picks::InOrder {
            in_order.sort_by_key(|record| (record.order, record.key.id));
        } else {
            in_order.sort_by_key(|record| record.key.id);
        }
        let lines =
            |records: Vec<&KeyRecord>| records.into_iter().map(|record| format!("{record:?}")).collect::<Vec<_>>();
        assert_eq!(lines(all.value.iter().collect()), lines(in_order.iter().collect()), "{:?}", self.fields);
        for wanted in State::ALL {
            let expected = all.value.iter().filter(|record| state(&record.key, USES, all.now) == wanted).collect();
            let mut listed = Vec::new();
            let mut after = None;
            loop {
                let part = self.store.list(&self.pool, Page { after, limit: 7, state: Some(wanted) }).await.unwrap();
                let Some(last) = part.value.last() else { break };
                after = Some(last.place());
                listed.extend(part.value);
            }
            assert_eq!(lines(listed.iter().collect()), lines(expected), "{:?}: {wanted:?}", self.fields);
        }
    }

    async fn what_is_invalid_is_told_with_its_reasons(&self, documents: u64) {
        let seen = self.store.examine(&self.pool, 1000).await.unwrap();
        let stats = self.store.stats(&self.pool, USES).await.unwrap();
        assert!(seen.exists);
        assert_eq!((seen.documents, seen.invalid), (documents, stats.keys.of(State::Invalid)), "{:?}", self.fields);
        assert_eq!(seen.needs_migration, stats.needs_migration);
        assert!(seen.with_credits >= seen.needs_migration);
        assert_eq!(seen.invalid_keys.len() as u64, seen.invalid);
        let ids: BTreeSet<String> = self.list().await.iter().map(|key| key.id.to_string()).collect();
        for key in &seen.invalid_keys {
            let named = ids.contains(&key.id) || self.fields == ["_id"];
            assert!(named && !key.reasons.is_empty(), "{key:?} with {:?} planted", self.fields);
            assert!(!format!("{key:?}").contains("sk-"), "{key:?}");
        }
        let few = self.store.examine(&self.pool, 3).await.unwrap();
        assert_eq!(few.invalid_keys, seen.invalid_keys[..seen.invalid_keys.len().min(3)]);
        assert_eq!(few.duplicate_ids.len(), 0);
    }

    async fn each_key_is_seen(&self) {
        let before = self.snapshot().await;
        for record in &self.records().await.value {
            let key = &record.key;
            let shown = self.store.show(&self.pool, key.id).await.unwrap().unwrap();
            assert_eq!(format!("{:?}", shown.value), format!("{record:?}"));
            assert!(key.open_leases.is_none_or(|open| record.leases.len() as u64 == open));
            let planted = LeaseId { pool: self.pool.name.clone(), key: key.id, entry: planted_entry(key.id) };
            let lease = self.store.find_lease(&self.pool, &planted).await.unwrap();
            let all_have_it = !self.fields[0].starts_with("leases") && self.fields != ["_id"];
            assert!(lease.is_some() || !all_have_it, "{:?}", self.fields);
            let by_id = self.store.look_up(&self.pool, &KeyRef::Id(key.id)).await.unwrap().unwrap();
            assert_eq!(format!("{:?}", by_id.value), format!("{key:?}"));
            let Some(secret) = &key.secret else { continue };
            let by_secret = self.store.look_up(&self.pool, &KeyRef::Secret(secret.clone())).await.unwrap().unwrap();
            assert_eq!(by_secret.value.id, key.id);
        }
        assert_eq!(self.changed_since(&before).await, BTreeMap::new(), "{:?}", self.fields);
    }

    async fn a_sweep_settles_what_lapsed(&self) {
        let before = self.snapshot().await;
        let lapsed = lapsed(&before);
        assert_eq!(self.store.sweep(&self.pool).await.unwrap(), lapsed.len() as u64, "{:?}", self.fields);
        let changed = self.changed_since(&before).await;
        assert_eq!(changed.keys().collect::<Vec<_>>(), lapsed.iter().collect::<Vec<_>>());
        self.assert_only(&changed, &["leases", "usage_count"]);
        assert_eq!(self.store.sweep(&self.pool).await.unwrap(), 0);
    }

    /// Each planted document has a lease with a known id, except where that is what was planted.
    async fn planted_leases_are_settled_by_their_ids(&self) {
        let before = self.snapshot().await;
        let listed = self.list().await;
        let mut settled = 0;
        for (n, key) in listed.iter().enumerate() {
            let outcome = Outcome::ALL[n % 3];
            let lease = LeaseId { pool: self.pool.name.clone(), key: key.id, entry: planted_entry(key.id) };
            self.store.renew(&self.pool, &lease, Duration::from_secs(900)).await.unwrap();
            let report = Report::new(outcome, None).unwrap();
            if let Some(after) = self.store.report(&self.pool, &lease, report).await.unwrap() {
                settled += 1;
                assert_eq!(after.id, key.id);
                let counts = outcome == Outcome::Used && key.usage_count.whole().is_some_and(|count| count < 1 << 53);
                match key.usage_count {
                    UsageCount::Whole(count) => {
                        assert_eq!(after.usage_count, UsageCount::Whole(count + u64::from(counts)));
                    }
                    UsageCount::Odd(count) if outcome == Outcome::Used && count.abs() < 9e15 => {
                        assert_eq!(
                            after.usage_count,
                            if count == -1.0 { UsageCount::Whole(0) } else { UsageCount::Odd(count + 1.0) }
                        );
                    }
                    // Without a count, the credits are what it starts from: here 0, or 25 - 7.
                    UsageCount::NotANumber if outcome == Outcome::Used && !has_count(&before, key.id) => {
                        assert!(matches!(after.usage_count, UsageCount::Whole(1..=26)), "{after:?}");
                    }
                    unchanged => assert_eq!(after.usage_count, unchanged),
                }
            }
            if n < 3 {
                assert_eq!(self.store.report(&self.pool, &lease, report).await.unwrap(), None);
            }
        }
        let all_have_it = !self.fields[0].starts_with("leases") && self.fields != ["_id"];
        assert!(!all_have_it || settled == listed.len(), "{:?}: {settled} of {}", self.fields, listed.len());
        self.assert_only(&self.changed_since(&before).await, &["leases", "usage_count", "resting_until"]);
        // The rests are over for what comes next.
        if self.fields != ["resting_until"] {
            self.documents.update_many(doc! {}, doc! {"$unset": {"resting_until": ""}}).await.unwrap();
        }
    }

    async fn exactly_what_is_left_is_leased(&self) -> Vec<(LeaseRequest, LeasedKey)> {
        let before = self.snapshot().await;
        let mut left = self.usable().await;
        let usable: BTreeSet<String> = left.keys().map(|id| text(*id)).collect();
        assert!(usable.len() >= 2, "the good keys are usable beside what is planted in {:?}", self.fields);
        let mut leases = Vec::new();
        loop {
            let request = request();
            match self.store.lease(&self.pool, &request).await.unwrap() {
                LeaseAnswer::New(leased) => {
                    let of_key = left.get_mut(&leased.id).expect("only usable keys are leased");
                    *of_key = of_key.checked_sub(1).expect("no more than what was left is leased");
                    leases.push((request, leased));
                }
                LeaseAnswer::Same(leased) => panic!("nobody asked for the same: {leased:?}"),
                LeaseAnswer::SameUnreadable | LeaseAnswer::NoUsableKey => break,
            }
        }
        assert!(left.values().all(|left| *left == 0), "{:?}: {left:?}", self.fields);
        let changed = self.changed_since(&before).await;
        assert_eq!(changed.keys().cloned().collect::<BTreeSet<_>>(), usable, "{:?}", self.fields);
        // A lease settles what lapsed since.
        self.assert_only(&changed, &["leases", "usage_count", "last_used"]);
        leases
    }

    async fn new_leases_are_renewed_and_settled(&self, leases: Vec<(LeaseRequest, LeasedKey)>) {
        let before = self.snapshot().await;
        for (n, (request, leased)) in leases.into_iter().enumerate() {
            let lease = LeaseId { pool: self.pool.name.clone(), key: leased.id, entry: leased.entry };
            let found = self.store.find_lease(&self.pool, &lease).await.unwrap().unwrap();
            assert_eq!((found.by.as_deref(), found.expires_at), (Some("$by"), Some(leased.expires_at)));
            if n % 3 > 0 {
                let same = self.store.find_same(&self.pool, &request).await.unwrap().unwrap();
                assert_eq!((same.id, same.entry, same.expires_at), (leased.id, leased.entry, leased.expires_at));
            }
            let renewed = self.store.renew(&self.pool, &lease, Duration::from_secs(900)).await.unwrap();
            assert!(renewed > Some(leased.expires_at), "{:?}", self.fields);
            if n % 3 == 0 {
                assert!(self.store.give_back(&self.pool, &request).await.unwrap());
            } else {
                let report = Report::new(Outcome::ALL[n % 2], None).unwrap();
                assert!(self.store.report(&self.pool, &lease, report).await.unwrap().is_some());
            }
        }
        self.assert_only(&self.changed_since(&before).await, &["leases", "usage_count"]);
    }

    async fn exactly_what_is_left_is_taken(&self) {
        let before = self.snapshot().await;
        let mut left = self.usable().await;
        let usable: BTreeSet<String> = left.keys().map(|id| text(*id)).collect();
        while let Some(taken) = self.store.take(&self.pool, 1000).await.unwrap() {
            assert_eq!(left.remove(&taken.id), Some(u64::from(taken.uses)), "{:?}: {taken:?}", self.fields);
        }
        assert_eq!(left, BTreeMap::new(), "{:?}", self.fields);
        let changed = self.changed_since(&before).await;
        assert_eq!(changed.keys().cloned().collect::<BTreeSet<_>>(), usable, "{:?}", self.fields);
        self.assert_only(&changed, &["mark", "usage_count", "last_used"]);
    }

    /// One use of each key, one by one or all in one step.
    async fn each_is_counted(&self, together: bool) {
        let before = self.snapshot().await;
        let mut expected_to_change = BTreeSet::new();
        let keys = self.list().await;
        let refs: Vec<KeyRef> = keys.iter().map(|key| KeyRef::Id(key.id)).collect();
        let mut counted_together = match together {
            true => self.store.increment_all(&self.pool, &refs).await.unwrap(),
            false => vec![None; keys.len()],
        };
        for (key, counted) in keys.iter().zip(&mut counted_together) {
            let counted = match counted.take() {
                Some(counted) => counted,
                None => self.store.increment_usage(&self.pool, &KeyRef::Id(key.id)).await.unwrap(),
            };
            let stored = before[&text(key.id)].get("usage_count").map(|bytes| value(bytes));
            let count = match stored {
                None | Some(Bson::Null) => None,
                Some(Bson::Int32(count)) => Some(f64::from(count)),
                Some(Bson::Int64(count)) => Some(count as f64),
                Some(Bson::Double(count)) => Some(count),
                Some(_) => Some(f64::NAN),
            };
            // Without a count, the credits are what it starts from.
            let most = 9_007_199_254_740_992.0;
            if count.is_none_or(|count| (-most..most).contains(&count)) {
                let Incremented::Counted { id, usage_count, .. } = counted else { panic!("{counted:?} of {stored:?}") };
                assert_eq!(id, key.id);
                assert!(count.is_none_or(|count| usage_count == UsageCount::from_f64(count + 1.0)), "{usage_count:?}");
                expected_to_change.insert(text(key.id));
            } else {
                assert_eq!(counted, Incremented::InvalidKey, "{stored:?}");
            }
        }
        let changed = self.changed_since(&before).await;
        assert_eq!(changed.keys().collect::<Vec<_>>(), expected_to_change.iter().collect::<Vec<_>>());
        self.assert_only(&changed, &["usage_count", "last_used"]);
    }

    async fn what_can_be_counted_is_counted(&self) {
        self.each_is_counted(false).await;
        self.each_is_counted(true).await;
        // By its secret, what no id names is known but not counted on.
        let before = self.snapshot().await;
        for (id, document) in &before {
            let Some(Bson::String(secret)) = document.get("api_key").map(|bytes| value(bytes)) else { continue };
            let Ok(secret) = Secret::parse(&secret) else { continue };
            if !id.starts_with("ObjectId(") {
                let counted = self.store.increment_usage(&self.pool, &KeyRef::Secret(secret.clone())).await.unwrap();
                assert_eq!(counted, Incremented::InvalidKey, "{id}");
                assert!(self.store.look_up(&self.pool, &KeyRef::Secret(secret)).await.unwrap().is_none());
            }
        }
        assert_eq!(self.changed_since(&before).await, BTreeMap::new(), "{:?}", self.fields);
    }

    async fn keys_are_added_and_found(&self) {
        let before = self.snapshot().await;
        let keys = ["sk-good-900", "sk-new"].map(|text| NewKey::fresh(Secret::parse(text).unwrap()));
        let added = self.store.add(&self.pool, &keys).await.unwrap().verdicts;
        let [Added::Known, Added::New(id)] = added[..] else { panic!("{added:?}") };
        let found = self.store.find_usable_key(&self.pool, USES).await.unwrap().unwrap();
        let usable = self.usable().await;
        assert!(usable.contains_key(&id) && usable.contains_key(&found.id), "{found:?}");
        let mut changed = self.changed_since(&before).await;
        changed.remove(&text(id)).expect("the new key is there");
        self.assert_only(&changed, &["last_used"]);
    }

    async fn a_file_brings_its_keys_and_withdraws_them(&self) {
        let before = self.snapshot().await;
        let records = self.records().await.value;
        let lines: Vec<&KeyRecord> = records.iter().filter(|record| record.key.secret.is_some()).collect();
        let line = |record: &&KeyRecord| NewKey {
            // Of each other one with a count, which only a key that was never used may take.
            usage_count: u64::from(record.key.id.bytes()[11] % 2) * 3,
            ..NewKey::of_file(record.key.secret.clone().unwrap())
        };
        let lines_as_keys: Vec<NewKey> = lines.iter().map(line).collect();
        let removed_from_file = Some(DisabledReason::RemovedFromFile);
        for _ in 0..2 {
            let brought = self.store.bring(&self.pool, &lines_as_keys).await.unwrap();
            assert!(brought.iter().all(|brought| *brought == Brought::Known), "{:?}: {brought:?}", self.fields);
        }
        self.assert_only(
            &self.changed_since(&before).await,
            &["from_file", "is_active", "disabled_reason", "usage_count"],
        );
        for (record, new) in lines.iter().zip(&lines_as_keys) {
            let mut expected = (*record).clone();
            if expected.disabled_reason == removed_from_file {
                (expected.key.is_active, expected.disabled_reason) = (true, None);
            }
            let never_used = expected.key.usage_count == UsageCount::Whole(0)
                && expected.key.last_used.is_none()
                && expected.key.open_leases == Some(0)
                && !expected.from_file;
            if never_used && new.usage_count > 0 {
                // What is no date in last_used is a use that somebody stamped.
                let after = self.store.show(&self.pool, record.key.id).await.unwrap().unwrap().value;
                expected.key.usage_count = after.key.usage_count;
            }
            expected.from_file = true;
            let after = self.store.show(&self.pool, record.key.id).await.unwrap().unwrap().value;
            assert_eq!(format!("{after:?}"), format!("{expected:?}"), "{:?}", self.fields);
        }
        let before = self.snapshot().await;
        let records = self.records().await.value;
        let active: Vec<&KeyRecord> =
            records.iter().filter(|record| record.key.is_active && record.from_file).collect();
        let ids: Vec<KeyId> = records.iter().map(|record| record.key.id).collect();
        assert_eq!(self.store.withdraw(&self.pool, &ids).await.unwrap(), active.len() as u64, "{:?}", self.fields);
        let changed = self.changed_since(&before).await;
        self.assert_only(&changed, &["is_active", "disabled_reason"]);
        assert_eq!(changed.len(), active.len(), "{:?}", self.fields);
        assert_eq!(self.store.withdraw(&self.pool, &ids).await.unwrap(), 0);
        self.store.bring(&self.pool, &lines_as_keys).await.unwrap();
    }

    async fn operators_change_only_what_they_mean(&self) {
        let note = Some(Some("$api_key".to_owned()));
        let changes = [
            (KeyChange { note, ..KeyChange::default() }, &["note"][..]),
            (KeyChange { is_active: Some(false), ..KeyChange::default() }, &["is_active", "disabled_reason"]),
            (KeyChange { is_active: Some(true), ..KeyChange::default() }, &["is_active", "disabled_reason"]),
            (KeyChange { rest: Some(Rest::End), note: Some(None), ..KeyChange::default() }, &["resting_until", "note"]),
        ];
        for (change, fields) in changes {
            self.change_is_as_the_domain_says(|_| change.clone(), fields).await;
        }
        let before = self.snapshot().await;
        for key in self.list().await {
            let rest = KeyChange { rest: Some(Rest::For(Duration::from_secs(60))), ..KeyChange::default() };
            let Changed::Changed(seen) = self.store.change(&self.pool, key.id, &rest).await.unwrap() else { panic!() };
            let until = seen.value.key.resting_until;
            assert!(until > Some(seen.now) && until >= key.resting_until, "{:?}", self.fields);
        }
        self.assert_only(&self.changed_since(&before).await, &["resting_until"]);
        let afresh = |key: &Key| {
            let secret = Secret::parse(&format!("sk-changed-{}", key.id)).ok();
            KeyChange { secret, ..KeyChange::default() }
        };
        let all = [
            "api_key",
            "usage_count",
            "resting_until",
            "leases",
            "is_active",
            "disabled_reason",
            "from_file",
            "verified",
        ];
        self.change_is_as_the_domain_says(afresh, &all).await;
        self.change_is_as_the_domain_says(afresh, &[]).await;
        // A count repairs an invalid one.
        let counted = KeyChange { usage_count: Some(2), ..KeyChange::default() };
        self.change_is_as_the_domain_says(|_| counted.clone(), &["usage_count"]).await;
        for key in self.list().await {
            assert_eq!((key.usage_count, key.open_leases), (UsageCount::Whole(2), Some(0)), "{:?}", self.fields);
        }
    }

    async fn change_is_as_the_domain_says(&self, change: impl Fn(&Key) -> KeyChange, fields: &[&str]) {
        let before = self.snapshot().await;
        for mut expected in self.records().await.value {
            let change = change(&expected.key);
            change.apply(&mut expected, Timestamp::from_millis(0));
            let changed = self.store.change(&self.pool, expected.key.id, &change).await.unwrap();
            let Changed::Changed(seen) = changed else { panic!("{changed:?}") };
            assert_eq!(format!("{:?}", seen.value), format!("{expected:?}"), "{:?}: {change:?}", self.fields);
            let secret = |record: &KeyRecord| record.key.secret.as_ref().map(|secret| secret.expose().to_owned());
            assert_eq!(secret(&seen.value), secret(&expected));
        }
        self.assert_only(&self.changed_since(&before).await, fields);
    }

    async fn verdicts_change_only_what_they_mean(&self) {
        for verdict in [Verdict::Exhausted, Verdict::Alive { credits: Some(2.5) }, Verdict::Rejected] {
            let before = self.snapshot().await;
            for mut expected in self.records().await.value {
                let Some(secret) = expected.key.secret.clone() else { continue };
                let judged = self.store.judge(&self.pool, expected.key.id, &secret, verdict).await.unwrap();
                let seen = judged.unwrap_or_else(|| panic!("{:?}: {expected:?}", self.fields));
                verdict.apply(&self.pool, &mut expected, seen.now);
                assert_eq!(format!("{:?}", seen.value), format!("{expected:?}"), "{:?}: {verdict:?}", self.fields);
            }
            self.assert_only(&self.changed_since(&before).await, &["is_active", "disabled_reason", "verified"]);
        }
    }

    async fn counts_are_reset(&self) {
        let before = self.snapshot().await;
        let mut ids: Vec<KeyId> = self.list().await.iter().map(|key| key.id).collect();
        let mut reset = self.store.reset(&self.pool, &ids).await.unwrap();
        ids.sort();
        reset.sort();
        assert_eq!(reset, ids);
        self.assert_only(&self.changed_since(&before).await, &["usage_count", "last_used"]);
        assert!(self.list().await.iter().all(|key| key.usage_count == UsageCount::Whole(0)));
    }

    async fn keys_are_removed(&self) {
        let before = self.snapshot().await;
        for key in self.list().await {
            assert!(self.store.remove(&self.pool, key.id).await.unwrap());
        }
        let unnamed = before.keys().filter(|id| !id.starts_with("ObjectId("));
        assert_eq!(self.snapshot().await.keys().collect::<Vec<_>>(), unnamed.collect::<Vec<_>>());
        assert!(self.list().await.is_empty());
    }

    async fn list(&self) -> Vec<Key> {
        self.records().await.value.into_iter().map(|record| record.key).collect()
    }

    async fn records(&self) -> Seen<Vec<KeyRecord>> {
        self.store.list(&self.pool, Page { after: None, limit: 1000, state: None }).await.unwrap()
    }

    /// What is left of each usable key, by the domain.
    async fn usable(&self) -> BTreeMap<KeyId, u64> {
        let all = self.records().await;
        let usable =
            all.value.iter().map(|record| &record.key).filter(|key| state(key, USES, all.now) == State::Usable);
        usable.map(|key| (key.id, key.left(USES))).collect()
    }

    async fn snapshot(&self) -> Snapshot {
        let all: Vec<Document> = self.documents.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        all.into_iter()
            .map(|document| {
                let id = format!("{:?}", document.get("_id").unwrap());
                (id, document.into_iter().map(|(field, value)| (field, bytes(&value))).collect())
            })
            .collect()
    }

    /// The fields that came, went or changed since, of each document where there are any.
    async fn changed_since(&self, before: &Snapshot) -> BTreeMap<String, BTreeSet<String>> {
        let now = self.snapshot().await;
        assert!(before.keys().all(|id| now.contains_key(id)), "a document went away");
        let nothing = BTreeMap::new();
        now.into_iter()
            .map(|(id, document)| {
                let before = before.get(&id).unwrap_or(&nothing);
                let fields: BTreeSet<&String> = before.keys().chain(document.keys()).collect();
                let changed = fields.into_iter().filter(|field| before.get(*field) != document.get(*field));
                (id, changed.cloned().collect::<BTreeSet<String>>())
            })
            .filter(|(_, changed)| !changed.is_empty())
            .collect()
    }

    /// Asserts that no other fields were changed than these.
    fn assert_only(&self, changed: &BTreeMap<String, BTreeSet<String>>, allowed: &[&str]) {
        for (id, fields) in changed {
            let other: Vec<&String> = fields.iter().filter(|field| !allowed.contains(&field.as_str())).collect();
            assert!(other.is_empty(), "{other:?} of {id} changed, with {:?} planted", self.fields);
        }
    }
}

/// A key as keylend leaves it, with one open lease.
fn good_key(n: usize) -> Document {
    let id = ObjectId::new();
    let entry = planted_entry(KeyId::from_bytes(id.bytes())).to_string();
    let ends = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() + 600_000);
    doc! {
        "_id": id, "api_key": format!("sk-good-{n}"), "usage_count": 4_i64, "is_active": true,
        "last_used": bson::DateTime::from_millis(n as i64),
        "leases": [{"id": &entry, "expires_at": ends, "by": "planted", "idem": entry}],
        "order": n as i64,
    }
}

/// The id of the planted lease of a key.
fn planted_entry(key: KeyId) -> EntryId {
    let mut bytes = [0xee; 16];
    bytes[..12].copy_from_slice(&key.bytes());
    EntryId::from_bytes(bytes)
}

fn plant(document: &mut Document, field: &str, value: Option<Bson>) {
    let mut leases = document.get_array("leases").unwrap().clone();
    match (field, value) {
        ("leases.0", Some(value)) => leases.push(value),
        ("leases.0", None) => {}
        (path, value) if path.starts_with("leases.0.") => {
            // A second entry, so that the planted one has to be told from the good one.
            let mut entry = leases[0].as_document().unwrap().clone();
            entry.insert("id", ObjectId::new().to_hex());
            entry.insert("idem", ObjectId::new().to_hex());
            set(&mut entry, path.trim_start_matches("leases.0."), value);
            leases.push(Bson::Document(entry));
        }
        (field, value) => return set(document, field, value),
    }
    document.insert("leases", leases);
}

fn set(document: &mut Document, field: &str, value: Option<Bson>) {
    match value {
        Some(value) => _ = document.insert(field, value),
        None => _ = document.remove(field),
    }
}

/// Whether there is anything in the count of a key.
fn has_count(all: &Snapshot, key: KeyId) -> bool {
    all[&text(key)].get("usage_count").is_some_and(|bytes| value(bytes) != Bson::Null)
}

/// The documents with a lapsed lease that keylend can understand.
fn lapsed(all: &Snapshot) -> Vec<String> {
    let now = bson::DateTime::now();
    let has_lapsed = |entry: &Bson| {
        let ends = entry.as_document().and_then(|entry| entry.get_datetime("expires_at").ok());
        ends.is_some_and(|ends| *ends < now)
    };
    all.iter()
        .filter(|(_, document)| match document.get("leases").map(|bytes| value(bytes)) {
            Some(Bson::Array(leases)) => leases.iter().any(has_lapsed),
            _ => false,
        })
        .map(|(id, _)| id.clone())
        .collect()
}

fn bytes(value: &Bson) -> Vec<u8> {
    bson::serialize_to_vec(&doc! {"": value}).unwrap()
}

fn value(bytes: &[u8]) -> Bson {
    let mut document: Document = bson::deserialize_from_slice(bytes).unwrap();
    document.remove("").unwrap()
}

/// The id as a [`Snapshot`] has it.
fn text(id: KeyId) -> String {
    format!("{:?}", Bson::ObjectId(ObjectId::from_bytes(id.bytes())))
}

fn request() -> LeaseRequest {
    let entry = EntryId::from_bytes(rand::random());
    LeaseRequest { entry, ttl: Duration::from_secs(300), by: "$by".to_owned(), idem: IdempotencyDigest::none(entry) }
}
