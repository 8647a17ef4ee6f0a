//! What goes wrong during a run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::instance::Instance;
use crate::operations::Shared;
use crate::own::OwnServer;
use crate::proxy::{Fault, Proxy};

/// What a run has that can break.
pub(crate) struct Breakable {
    pub(crate) instances: Vec<Instance>,
    /// The ways from the clients to the instances.
    pub(crate) fronts: Vec<Proxy>,
    /// The ways from the instances to the database; none for the embedded store.
    pub(crate) backs: Vec<Proxy>,
    pub(crate) database: Option<OwnServer>,
    /// The folder of the run, where it is on a disk of its own that may be filled.
    pub(crate) disk: Option<PathBuf>,
    /// The files by which the clocks of the instances are set; none where they cannot be.
    pub(crate) clocks: Vec<PathBuf>,
}

/// How far a clock jumps at most, in seconds.
const JUMP: i64 = 3600;

/// How often each fault was injected.
pub(crate) type Injected = BTreeMap<&'static str, u32>;

/// What breaks.
#[derive(Clone, Copy)]
enum Breaks {
    Instance,
    Front,
    Back,
    Database,
    Disk,
    Clock,
}

impl Breakable {
    /// What can break, as often as it is likely to.
    fn possible(&self) -> Vec<Breaks> {
        let mut possible = vec![Breaks::Instance, Breaks::Instance, Breaks::Front, Breaks::Front];
        if !self.backs.is_empty() {
            possible.extend([Breaks::Back; 3]);
        }
        possible.extend(self.database.is_some().then_some(Breaks::Database));
        possible.extend(self.disk.is_some().then_some([Breaks::Disk; 2]).into_iter().flatten());
        possible.extend((!self.clocks.is_empty()).then_some([Breaks::Clock; 2]).into_iter().flatten());
        possible
    }

    /// Breaks and mends one thing after the other until the run is over; then everything is mended.
    pub(crate) async fn break_and_mend(mut self, shared: &Shared, seed: u64) -> Result<(Self, Injected), String> {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut injected = Injected::new();
        while !shared.stop.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(dice.random_range(200..1200))).await;
            let lasts = Duration::from_millis(dice.random_range(50..1500));
            let one = dice.random_range(0..self.instances.len());
            let possible = self.possible();
            let name = match possible[dice.random_range(0..possible.len())] {
                Breaks::Instance => {
                    self.instances[one].kill().await?;
                    sleep(lasts / 4).await;
                    self.instances[one].start_again()?;
                    self.instances[one].until_ready().await?;
                    "an instance was killed"
                }
                Breaks::Front => way(&self.fronts[one], &mut dice, lasts).await,
                Breaks::Back => way(&self.backs[one], &mut dice, lasts).await,
                Breaks::Database => {
                    if let Some(database) = &mut self.database {
                        database.kill().await;
                        sleep(lasts / 4).await;
                        database.start_again().await;
                    }
                    "the database was killed"
                }
                Breaks::Disk => {
                    if let Some(disk) = &self.disk {
                        fill(disk, lasts).await.map_err(|error| format!("the disk could not be filled: {error}"))?;
                    }
                    "the disk was full"
                }
                Breaks::Clock => {
                    set_clock(&self.clocks[one], dice.random_range(-JUMP..=JUMP))?;
                    "a clock jumped"
                }
            };
            *injected.entry(name).or_default() += 1;
        }
        // Whatever a clock made of it, each lease has lapsed by then.
        self.clocks.iter().try_for_each(|clock| set_clock(clock, 3 * JUMP))?;
        for instance in &mut self.instances {
            instance.until_ready().await?;
        }
        Ok((self, injected))
    }
}

/// Lets the clock of an instance be off by so many seconds.
pub(crate) fn set_clock(clock: &Path, seconds: i64) -> Result<(), String> {
    // Replaced as a whole: an instance may read it at any time.
    let beside = clock.with_extension("new");
    let set = std::fs::write(&beside, format!("{seconds:+}\n")).and_then(|()| std::fs::rename(&beside, clock));
    set.map_err(|error| format!("a clock could not be set: {error}"))
}

/// Leaves no byte of the disk free for so long.
async fn fill(disk: &Path, lasts: Duration) -> std::io::Result<()> {
    let path = disk.join("filler");
    let filled = (|| {
        let mut filler = File::create(&path)?;
        let mut size = 1 << 20;
        while size > 0 {
            match filler.write(&vec![0; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })();
    if filled.is_ok() {
        sleep(lasts).await;
    }
    std::fs::remove_file(&path)?;
    filled
}

async fn way(way: &Proxy, dice: &mut StdRng, lasts: Duration) -> &'static str {
    let (fault, name) = match dice.random_range(0..5) {
        0 => (Fault::Cut, "a way was cut"),
        1 => (Fault::Stall, "a way stalled"),
        2 => (Fault::StallAnswers, "answers stalled"),
        3 => (Fault::Slow(Duration::from_millis(dice.random_range(1..60))), "a way was slow"),
        _ => (Fault::CutAnswers, "a way was cut where the answer would come"),
    };
    way.set(fault);
    sleep(lasts).await;
    way.set(Fault::None);
    name
}
