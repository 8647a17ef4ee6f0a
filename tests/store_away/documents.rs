//! The keys as the database has them, past keylend and past whatever is wrong on the way to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{Client, Collection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{until, within};

/// What is written about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    pub secret: String,
    pub counted: u64,
    /// The random parts of the ids of its open leases.
    pub open: Vec<String>,
}

#[derive(Clone)]
pub struct Documents(Collection<Document>);

impl Documents {
    pub async fn of(uri: &str, database: &str, collection: &str) -> Self {
        Self(Client::with_uri_str(uri).await.unwrap().database(database).collection(collection))
    }

    /// Every key with its uses, by id; None while the database is not there.
    pub async fn uses(&self) -> Option<BTreeMap<String, Uses>> {
        let found = self.0.find(doc! {}).projection(doc! {"api_key": 1, "usage_count": 1, "leases": 1}).await.ok()?;
        let found: Vec<Document> = found.try_collect().await.ok()?;
        Some(found.iter().map(|key| (key.get_object_id("_id").unwrap().to_hex(), uses(key))).collect())
    }

    pub async fn uses_now(&self) -> BTreeMap<String, Uses> {
        within("the documents", self.uses()).await.expect("the database is there")
    }

    pub async fn open_leases(&self) -> usize {
        self.uses_now().await.values().map(|uses| uses.open.len()).sum()
    }

    pub async fn until_no_lease_is_open(&self) {
        until("no lease is open", async || self.open_leases().await == 0).await;
    }
}

fn uses(key: &Document) -> Uses {
    let counted = match key.get("usage_count") {
        Some(Bson::Int32(count)) => u64::try_from(*count).unwrap(),
        Some(Bson::Int64(count)) => u64::try_from(*count).unwrap(),
        other => panic!("usage_count is {other:?}"),
    };
    let open = key.get_array("leases").map(Vec::as_slice).unwrap_or_default();
    let open = open.iter().map(|lease| lease.as_document().unwrap().get_str("id").unwrap().to_owned()).collect();
    Uses { secret: key.get_str("api_key").unwrap().to_owned(), counted, open }
}

/// Looks again and again whether a key has more uses than it gives.
pub struct Monitor {
    stop: CancellationToken,
    looks: Arc<AtomicUsize>,
    looking: JoinHandle<Vec<Uses>>,
}

impl Monitor {
    pub fn start(documents: &Documents, uses_per_key: u64) -> Self {
        let (documents, stop, looks) = (documents.clone(), CancellationToken::new(), Arc::<AtomicUsize>::default());
        let looking = tokio::spawn({
            let (stop, looks) = (stop.clone(), Arc::clone(&looks));
            async move {
                let mut too_much = Vec::new();
                while !stop.is_cancelled() {
                    if let Some(uses) = documents.uses().await {
                        looks.fetch_add(1, Ordering::SeqCst);
                        let over = |uses: &Uses| uses.counted + uses.open.len() as u64 > uses_per_key;
                        too_much.extend(uses.into_values().filter(over));
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                too_much
            }
        });
        Self { stop, looks, looking }
    }

    /// Ends it. Asserts that no key ever had more uses than it gives.
    pub async fn saw_no_key_overused(self) {
        self.stop.cancel();
        let too_much = within("the monitor", self.looking).await.unwrap();
        assert!(self.looks.load(Ordering::SeqCst) > 0);
        assert_eq!(too_much, []);
    }
}
