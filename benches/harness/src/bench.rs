//! What all rows share: the program that is measured, the MongoDB, how long and how often, and one run from the keys to
//! the check.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mongodb::Client;
use tempfile::TempDir;

use crate::baseline::Which;
use crate::check::{Asked, check};
use crate::failure::Failure;
use crate::load::{self, Load, Shape, Tally, Work};
use crate::place::{Base, Place};
use crate::quiet::quiet;
use crate::seed::{self, Seed};
use crate::server::{self, Server};

/// What the names of all databases of a benchmark begin with. No other is ever made or dropped.
const PREFIX: &str = "keylend_bench_";

/// How long, how often and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often each side is run, in turn with the others.
    pub(crate) runs: u32,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    /// No row takes more keys than this.
    pub(crate) keys: u32,
    /// It is a look at whether everything works.
    pub(crate) is_quick: bool,
}

impl Plan {
    /// For figures.
    pub(crate) fn full(seconds: u64, runs: u32) -> Self {
        Self {
            runs,
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(seconds),
            keys: u32::MAX,
            is_quick: false,
        }
    }

    /// For a look at whether everything works: its figures are worth little.
    pub(crate) fn quick() -> Self {
        Self {
            runs: 1,
            warm_up: Duration::from_millis(100),
            measured: Duration::from_millis(500),
            keys: 2_000,
            is_quick: true,
        }
    }
}

/// The stores that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Store {
    Embedded,
    MongoDb,
}

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// So many instances.
    Keylend(usize),
    Baseline(Which),
}

/// One side of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) store: Store,
    pub(crate) kind: Kind,
    pub(crate) seed: Seed,
    pub(crate) work: Work,
    pub(crate) callers: usize,
    pub(crate) shape: Shape,
}

/// What one run found out.
pub(crate) struct Run {
    pub(crate) tally: Tally,
    /// The largest that a server's memory was, in bytes.
    pub(crate) memory: u64,
    /// How long the server took from its start to `readyz`.
    pub(crate) ready_after: Duration,
}

/// The MongoDB that is measured on.
struct Mongo {
    client: Client,
    uri: String,
    name: String,
}

pub(crate) struct Bench {
    keylend: PathBuf,
    pub(crate) plan: Plan,
    mongo: Option<Mongo>,
    /// Databases made so far.
    made: Cell<u32>,
    /// Files of the embedded store, made once and copied for each run.
    files: RefCell<HashMap<Seed, Rc<TempDir>>>,
    /// Places that take long to make: restored after each run.
    lasting: RefCell<HashMap<(Store, Seed), Rc<Place>>>,
}

/// From how many keys on a place is restored after a run and not made anew.
const MANY: u32 = 200_000;

/// How often a server's memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl Bench {
    /// `uri`: the MongoDB; None = only the rows that need none.
    pub(crate) async fn new(keylend: PathBuf, uri: Option<String>, plan: Plan) -> Result<Self, Failure> {
        let mongo = match uri {
            Some(uri) => {
                let client = Client::with_uri_str(&uri).await?;
                let base = Base { client: client.clone(), uri: uri.clone(), name: "admin".to_owned() };
                Some(Mongo { client, uri, name: server::name(&base).await? })
            }
            None => None,
        };
        let (files, lasting) = (RefCell::default(), RefCell::default());
        Ok(Self { keylend, plan, mongo, made: Cell::new(0), files, lasting })
    }

    /// The name of a store, as every figure has it beside it.
    pub(crate) fn name_of(&self, store: Store) -> String {
        match (store, &self.mongo) {
            (Store::MongoDb, Some(mongo)) => mongo.name.clone(),
            (Store::MongoDb, None) => "no MongoDB".to_owned(),
            (Store::Embedded, _) => format!("embedded (SQLite {})", rusqlite::version()),
        }
    }

    /// Whether this store can be measured on.
    pub(crate) fn has(&self, store: Store) -> bool {
        store == Store::Embedded || self.mongo.is_some()
    }

    /// One run of one side: keys, servers, load, check.
    pub(crate) async fn run(&self, setup: Setup) -> Result<Run, Failure> {
        self.run_beside(setup, None).await
    }

    /// The same, while others ask for something else; what they are answered is not looked at.
    pub(crate) async fn run_beside(&self, setup: Setup, others: Option<(Work, usize, Shape)>) -> Result<Run, Failure> {
        let place = self.place(setup).await?;
        if !self.plan.is_quick {
            quiet().await?;
        }
        let servers = self.serve(setup, &place).await?;
        let load = Load {
            addresses: servers.iter().map(|server| server.address).collect(),
            work: setup.work,
            callers: setup.callers,
            shape: setup.shape,
            warm_up: self.plan.warm_up,
            measured: self.plan.measured,
        };
        let beside = others.map(|(work, callers, shape)| Load { work, callers, shape, ..load.clone() });
        let loads = async {
            let beside = async {
                match beside {
                    Some(load) => load::run(load).await.map(drop),
                    None => Ok(()),
                }
            };
            tokio::try_join!(load::run(load), beside).map(|(tally, ())| tally)
        };
        let (tally, memory) = watched(&servers, loads).await?;
        let ready_after = servers.iter().map(|server| server.ready_after).max().unwrap_or_default();
        for server in servers {
            server.stop().await?;
        }
        let leases_are_kept = matches!(setup.kind, Kind::Keylend(_));
        let asked = Asked { work: setup.work, failed: tally.failed(), told: tally.told.clone(), leases_are_kept };
        check(&place, setup.seed, &asked).await?;
        self.leave(setup, place).await?;
        Ok(Run { tally, memory, ready_after })
    }

    async fn serve(&self, setup: Setup, place: &Place) -> Result<Vec<Server>, Failure> {
        std::fs::write(place.folder.path().join("keylend.toml"), setup.seed.toml())?;
        let mut servers = Vec::new();
        match setup.kind {
            Kind::Keylend(instances) => {
                for _ in 0..instances {
                    servers.push(Server::keylend(&self.keylend, place).await?);
                }
            }
            Kind::Baseline(which) => {
                servers.push(Server::baseline(which.name(), place, setup.seed.uses_per_key).await?);
            }
        }
        Ok(servers)
    }

    /// The place of a run, its keys in it.
    async fn place(&self, setup: Setup) -> Result<Rc<Place>, Failure> {
        let lasting = self.lasting.borrow().get(&(setup.store, setup.seed)).cloned();
        if let Some(place) = lasting {
            return Ok(place);
        }
        let place = Rc::new(self.make(setup).await?);
        if setup.seed.total() >= MANY {
            self.lasting.borrow_mut().insert((setup.store, setup.seed), Rc::clone(&place));
        }
        Ok(place)
    }

    async fn make(&self, setup: Setup) -> Result<Place, Failure> {
        let began = Instant::now();
        let place = Place::new(self.database(setup.store)?)?;
        std::fs::write(place.folder.path().join("keylend.toml"), setup.seed.toml())?;
        match (setup.kind, setup.store) {
            (Kind::Baseline(_), _) => setup.seed.insert(place.database.as_ref().ok_or_else(no_mongodb)?).await?,
            (Kind::Keylend(_), Store::MongoDb) => self.import(setup.seed, &place).await?,
            (Kind::Keylend(_), Store::Embedded) => {
                let file = self.files.borrow().get(&setup.seed).cloned();
                match file {
                    Some(made) => _ = std::fs::copy(made.path().join("keylend.db"), place.file())?,
                    None => {
                        self.import(setup.seed, &place).await?;
                        let made = tempfile::tempdir()?;
                        std::fs::copy(place.file(), made.path().join("keylend.db"))?;
                        self.files.borrow_mut().insert(setup.seed, Rc::new(made));
                    }
                }
            }
        }
        if began.elapsed() > Duration::from_secs(10) {
            eprintln!("speed: {} keys were made in {:.0} s", setup.seed.total(), began.elapsed().as_secs_f64());
        }
        Ok(place)
    }

    async fn import(&self, seed: Seed, place: &Place) -> Result<(), Failure> {
        let file = place.folder.path().join("keys.ndjson");
        seed.write_lines(&file)?;
        server::import(&self.keylend, place, seed.pool.name(), &file).await?;
        std::fs::remove_file(file)?;
        Ok(())
    }

    /// A run is over: its place goes, or is as it was before.
    async fn leave(&self, setup: Setup, place: Rc<Place>) -> Result<(), Failure> {
        match Rc::try_unwrap(place) {
            Ok(place) => place.clear().await,
            Err(lasting) => seed::restore(&lasting, setup.seed).await,
        }
    }

    fn database(&self, store: Store) -> Result<Option<Base>, Failure> {
        if store == Store::Embedded {
            return Ok(None);
        }
        let mongo = self.mongo.as_ref().ok_or_else(no_mongodb)?;
        self.made.set(self.made.get() + 1);
        let name = format!("{}{}", self.prefix(), self.made.get());
        Ok(Some(Base { client: mongo.client.clone(), uri: mongo.uri.clone(), name }))
    }

    fn prefix(&self) -> String {
        format!("{PREFIX}{}_", std::process::id())
    }

    /// Drops every database that this run of the benchmark has made, whatever became of it.
    pub(crate) async fn clear(&self) -> Result<(), Failure> {
        self.lasting.borrow_mut().clear();
        let Some(mongo) = &self.mongo else { return Ok(()) };
        for name in mongo.client.list_database_names().await? {
            if name.starts_with(&self.prefix()) {
                mongo.client.database(&name).drop().await?;
            }
        }
        Ok(())
    }
}

fn no_mongodb() -> Failure {
    Failure::Bench("this row needs a MongoDB: KEYLEND_TEST_MONGODB_URI".to_owned())
}

/// Does it, and looks at the servers' memory meanwhile.
async fn watched<T>(servers: &[Server], work: impl Future<Output = Result<T, Failure>>) -> Result<(T, u64), Failure> {
    let mut most = 0;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok((done?, most)),
            () = tokio::time::sleep(LOOK) => {
                for server in servers {
                    most = most.max(server.resident()?);
                }
            }
        }
    }
}
