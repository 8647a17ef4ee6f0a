//! The rows of the table: what is done, against what, and what it should reach.

use std::time::Duration;

use crate::baseline::Which;
use crate::bench::{Bench, Kind, Run, Setup, Store};
use crate::failure::Failure;
use crate::load::{Shape, Work};
use crate::report::{Row, Side, Verdict, median};
use crate::seed::{Pool, Seed};

const KEYLEND: Kind = Kind::Keylend(1);
const FIRST: Kind = Kind::Baseline(Which::First);
const SECOND: Kind = Kind::Baseline(Which::Second);

/// The callers of most rows.
const CROWD: usize = 64;

/// Connections of an open loop: enough that no arrival waits for one where the service keeps up.
const OPEN_CONNECTIONS: usize = 256;

/// What SQLite may keep in memory, as `store::sqlite` sets it: 32 MiB for each of three connections.
const SQLITE_CACHE_MB: f64 = 3.0 * 32.0 * 1.048_576;

/// The names of the rows, in the table's order, and what each measures.
pub(crate) const ROWS: [(&str, &str); 14] = [
    ("lease", "a lease, 64 connections, 20,000 usable keys"),
    ("find", "find_usable_key, 64 connections, 20,000 usable keys"),
    ("cycle", "a lease and its report `used`, 64 connections, 1,000 keys with uses to spare"),
    ("alone", "a lease, 1 connection, 1,000 keys"),
    ("in_order", "/api/plantid, 64 connections"),
    ("durable", "a lease on the embedded store, 64 connections, against /livez"),
    ("open", "a lease, 500 arrivals a second, 20,000 keys"),
    ("spent", "a lease, 64 connections, 10,000 usable keys among spent ones"),
    ("stats", "a lease, 64 connections, 1,000,000 keys, while 32 clients ask for the stats every 100 ms"),
    ("memory", "the server's memory, 1,000 connections that lease once a second"),
    ("start", "from the start to `readyz`, 1,000,000 keys"),
    ("keys", "a lease, 64 connections, by the number of usable keys"),
    ("callers", "a lease, 10,000 usable keys, by the number of connections"),
    ("instances", "a lease, 64 connections, 20,000 usable keys, by the number of instances"),
];

/// Measures one row, on each store that it is about and that there is.
pub(crate) async fn measure(bench: &Bench, name: &str) -> Result<Vec<Row>, Failure> {
    let Some((name, work)) = ROWS.iter().find(|(row, _)| *row == name) else {
        return Err(Failure::Bench(format!("there is no row {name}; `benches/speed rows` lists them")));
    };
    let stores = match *name {
        "lease" | "find" | "cycle" | "alone" | "in_order" => vec![Store::MongoDb],
        "durable" => vec![Store::Embedded],
        _ => vec![Store::Embedded, Store::MongoDb],
    };
    let mut rows = Vec::new();
    for store in stores {
        if !bench.has(store) {
            eprintln!("speed: {name}: there is no MongoDB to measure on");
            continue;
        }
        let row = Measure { bench, name, store };
        let (sides, verdicts) = match *name {
            "lease" => row.crowd(Work::Lease).await?,
            "find" => row.crowd(Work::Find).await?,
            "cycle" => row.cycle().await?,
            "alone" => row.alone().await?,
            "in_order" => row.in_order().await?,
            "durable" => row.durable().await?,
            "open" => row.open().await?,
            "spent" => row.spent().await?,
            "stats" => row.stats().await?,
            "memory" => row.memory().await?,
            "start" => row.start().await?,
            "keys" => (row.by_keys().await?, Vec::new()),
            "callers" => (row.by_callers().await?, Vec::new()),
            _ => (row.by_instances().await?, Vec::new()),
        };
        rows.push(Row { name, work: (*work).to_owned(), store: bench.name_of(store), sides, verdicts });
    }
    Ok(rows)
}

type Measured = (Vec<Side>, Vec<Verdict>);

/// One row's work, on one store.
struct Measure<'a> {
    bench: &'a Bench,
    name: &'static str,
    store: Store,
}

impl Measure<'_> {
    /// A lease by a crowd of 64, which most rows vary.
    fn setup(&self, kind: Kind, seed: Seed) -> Setup {
        Setup { store: self.store, kind, seed, work: Work::Lease, callers: CROWD, shape: Shape::CLOSED }
    }

    /// So many usable keys, or as many as the plan allows.
    fn usable(&self, keys: u32) -> Seed {
        Seed::usable(keys.min(self.bench.plan.keys))
    }

    /// So many usable keys, of so many uses that a run does not take them all.
    fn lasting(&self, keys: u32) -> Seed {
        let seed = self.usable(keys);
        let (taken, most) = if self.store == Store::Embedded { (200_000, 200) } else { (30_000, 16) };
        Seed { uses_per_key: (taken / seed.usable.max(1)).clamp(4, most), ..seed }
    }

    /// 10,000 usable keys, so many keys in all.
    fn among(&self, total: u32) -> Seed {
        let total = total.min(self.bench.plan.keys);
        let usable = self.lasting(total.min(10_000));
        Seed { spent: total - usable.usable, ..usable }
    }

    /// The sizes of what grows: the smallest and the largest of them where a look is enough.
    fn sizes(&self, all: &[u32]) -> Vec<u32> {
        let step = if self.bench.plan.is_quick { all.len().saturating_sub(1).max(1) } else { 1 };
        all.iter().step_by(step).copied().collect()
    }

    /// Runs the sides in turn, so that whatever else the machine does meets all of them.
    async fn sides(&self, sides: &[(String, Setup)]) -> Result<Vec<Side>, Failure> {
        let mut runs: Vec<Vec<Run>> = sides.iter().map(|_| Vec::new()).collect();
        for turn in 1..=self.bench.plan.runs {
            for ((name, setup), runs) in sides.iter().zip(&mut runs) {
                runs.push(self.tell(name, turn, self.bench.run(*setup).await?));
            }
        }
        Ok(sides.iter().zip(&runs).map(|((name, _), runs)| Side::of(name, runs)).collect())
    }

    /// Progress, for who waits.
    fn tell(&self, side: &str, turn: u32, run: Run) -> Run {
        let (runs, rate) = (self.bench.plan.runs, run.tally.rate());
        eprintln!("speed: {}: {side}, {turn} of {runs}: {rate:.0}/s", self.name);
        if let Some(complaint) = &run.tally.complaint {
            eprintln!("speed: {} refused; one of them: {complaint}", run.tally.failed());
        }
        run
    }

    /// Everybody wants the key that was used least recently.
    async fn crowd(&self, work: Work) -> Result<Measured, Failure> {
        let seed = self.usable(20_000);
        let side = |kind| Setup { work, ..self.setup(kind, seed) };
        let sides = [named("keylend", side(KEYLEND)), named("first", side(FIRST)), named("second", side(SECOND))];
        let sides = self.sides(&sides).await?;
        let (keylend, first, second) = (&sides[0], &sides[1], &sides[2]);
        let verdicts = vec![
            Verdict::at_least(50.0, keylend.per_second / first.per_second, "x", "rate, against the first afternoon"),
            Verdict::at_most(0.1, keylend.p99_ms / first.p99_ms, "x", "p99, against the first afternoon"),
            Verdict::at_least(3.0, keylend.per_second / second.per_second, "x", "rate, against the second afternoon"),
            Verdict::at_most(1.0, keylend.p99_ms / second.p99_ms, "x", "p99, against the second afternoon"),
        ];
        Ok((sides, verdicts))
    }

    async fn cycle(&self) -> Result<Measured, Failure> {
        // More uses than all runs take: what is measured is no shortage.
        let seed = Seed { uses_per_key: 50, ..self.usable(1_000) };
        let keylend = Setup { work: Work::LeaseAndReport, ..self.setup(KEYLEND, seed) };
        let first = Setup { work: Work::FindAndCount, ..self.setup(FIRST, seed) };
        let sides = self.sides(&[named("keylend", keylend), named("first", first)]).await?;
        let ratio = sides[0].per_second / sides[1].per_second;
        Ok((sides, vec![Verdict::at_least(8.0, ratio, "x", "rate, against the first afternoon")]))
    }

    async fn alone(&self) -> Result<Measured, Failure> {
        let side = |kind| Setup { callers: 1, ..self.setup(kind, self.usable(1_000)) };
        let sides = self.sides(&[named("keylend", side(KEYLEND)), named("first", side(FIRST))]).await?;
        let ratio = sides[0].p50_ms / sides[1].p50_ms;
        Ok((sides, vec![Verdict::at_most(1.1, ratio, "x", "median, against the first afternoon")]))
    }

    async fn in_order(&self) -> Result<Measured, Failure> {
        let seed = Seed { pool: Pool::Plantid, uses_per_key: 100, ..self.usable(5_000) };
        let side = |kind| Setup { work: Work::Take, ..self.setup(kind, seed) };
        let sides = self.sides(&[named("keylend", side(KEYLEND)), named("first", side(FIRST))]).await?;
        let ratio = sides[0].per_second / sides[1].per_second;
        Ok((sides, vec![Verdict::at_least(20.0, ratio, "x", "rate, against one find-and-modify per request")]))
    }

    async fn durable(&self) -> Result<Measured, Failure> {
        let seed = self.usable(100_000);
        let live = Setup { work: Work::Live, ..self.setup(KEYLEND, self.usable(1_000)) };
        let sides = self.sides(&[named("keylend", self.setup(KEYLEND, seed)), named("livez", live)]).await?;
        let percent = 100.0 * sides[0].per_second / sides[1].per_second;
        Ok((sides, vec![Verdict::at_least(40.0, percent, " %", "rate, of that of /livez")]))
    }

    async fn open(&self) -> Result<Measured, Failure> {
        let shape = Shape::Open { per_second: 500 };
        let setup = Setup { shape, callers: OPEN_CONNECTIONS, ..self.setup(KEYLEND, self.usable(20_000)) };
        let sides = self.sides(&[named("keylend", setup)]).await?;
        let reach = if self.store == Store::Embedded { 5.0 } else { 25.0 };
        let verdict = Verdict::at_most(reach, sides[0].p99_ms, " ms", "p99 at 500 arrivals a second");
        Ok((sides, vec![verdict]))
    }

    async fn spent(&self) -> Result<Measured, Failure> {
        let side = |total| (format!("{total} keys"), self.setup(KEYLEND, self.among(total)));
        let totals = [10_000, 11_000, 1_000_000];
        let sides = self.sides(&totals.map(side)).await?;
        let slower = |side: &Side| sides[0].per_second / side.per_second;
        let verdicts = vec![
            Verdict::at_most(1.5, slower(&sides[2]), "x", "cost with 99 % spent, of 10,000 usable keys alone"),
            Verdict::at_most(1.5, slower(&sides[2]) / slower(&sides[1]), "x", "cost from 1,000 to 990,000 spent"),
        ];
        Ok((sides, verdicts))
    }

    async fn stats(&self) -> Result<Measured, Failure> {
        let setup = self.setup(KEYLEND, self.among(1_000_000));
        let asking = (Work::Stats, 32, Shape::Closed { pause: Duration::from_millis(100), at_most: u64::MAX });
        let (mut quiet, mut asked) = (Vec::new(), Vec::new());
        for turn in 1..=self.bench.plan.runs {
            quiet.push(self.tell("nobody asks", turn, self.bench.run(setup).await?));
            asked.push(self.tell("32 ask", turn, self.bench.run_beside(setup, Some(asking)).await?));
        }
        // Turn by turn: the place of both grows slower from run to run.
        let lost =
            quiet.iter().zip(&asked).map(|(quiet, asked)| 100.0 * (1.0 - asked.tally.rate() / quiet.tally.rate()));
        let lost = median(&lost.collect::<Vec<_>>());
        let sides = vec![Side::of("nobody asks", &quiet), Side::of("32 ask", &asked)];
        Ok((sides, vec![Verdict::at_most(10.0, lost, " %", "rate that leases lose")]))
    }

    async fn memory(&self) -> Result<Measured, Failure> {
        let shape = Shape::Closed { pause: Duration::from_secs(1), at_most: u64::MAX };
        let side = |total| {
            let setup = Setup { shape, callers: 1_000, ..self.setup(KEYLEND, self.among(total)) };
            (format!("{total} keys"), setup)
        };
        let sides = self.sides(&[10_000, 1_000_000].map(side)).await?;
        let cache = if self.store == Store::Embedded { SQLITE_CACHE_MB } else { 0.0 };
        let most =
            Verdict::at_most(40.0 + cache, sides[1].memory_mb, " MB", "memory at 1,000,000 keys, set cache included");
        Ok((sides, vec![most]))
    }

    async fn start(&self) -> Result<Measured, Failure> {
        let shape = Shape::Closed { pause: Duration::from_millis(10), at_most: u64::MAX };
        let setup = Setup { work: Work::Live, shape, callers: 1, ..self.setup(KEYLEND, self.among(1_000_000)) };
        let sides = self.sides(&[named("keylend", setup)]).await?;
        let verdict = Verdict::at_most(200.0, sides[0].ready_ms, " ms", "from the start to `readyz`");
        Ok((sides, vec![verdict]))
    }

    async fn by_keys(&self) -> Result<Vec<Side>, Failure> {
        let mut sides = Vec::new();
        for keys in self.sizes(&[1_000, 10_000, 100_000, 1_000_000]) {
            // A million usable keys on the compatible server take longer to make than all the rest.
            if keys > 100_000 && self.store == Store::MongoDb {
                continue;
            }
            // Its requests take longer than a run with more.
            let first = self.store == Store::MongoDb && keys <= 10_000;
            sides.extend(self.sized(keys, first, |kind| self.setup(kind, self.lasting(keys))).await?);
        }
        Ok(sides)
    }

    async fn by_callers(&self) -> Result<Vec<Side>, Failure> {
        let mut sides = Vec::new();
        for callers in self.sizes(&[1, 4, 16, 64, 256]) {
            let setup = |kind| Setup { callers: callers as usize, ..self.setup(kind, self.lasting(10_000)) };
            sides.extend(self.sized(callers, self.store == Store::MongoDb, setup).await?);
        }
        Ok(sides)
    }

    async fn by_instances(&self) -> Result<Vec<Side>, Failure> {
        let mut sides = Vec::new();
        for instances in self.sizes(&[1, 2, 3]) {
            let setup = |_| self.setup(Kind::Keylend(instances as usize), self.lasting(20_000));
            sides.extend(self.sized(instances, false, setup).await?);
        }
        Ok(sides)
    }

    /// keylend, and beside it the first afternoon, at one size of what grows.
    async fn sized(&self, size: u32, first: bool, setup: impl Fn(Kind) -> Setup) -> Result<Vec<Side>, Failure> {
        let mut sides = vec![named("keylend", setup(KEYLEND))];
        if first {
            sides.push(named("first", setup(FIRST)));
        }
        let sides = self.sides(&sides).await?;
        Ok(sides.into_iter().map(|side| Side { size: Some(size), ..side }).collect())
    }
}

fn named(name: &str, setup: Setup) -> (String, Setup) {
    (name.to_owned(), setup)
}
