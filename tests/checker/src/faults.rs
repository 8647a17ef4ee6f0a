//! What goes wrong during a run.

use std::collections::BTreeMap;
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
}

/// How often each fault was injected.
pub(crate) type Injected = BTreeMap<&'static str, u32>;

impl Breakable {
    /// Breaks and mends one thing after the other until the run is over; then everything is mended.
    pub(crate) async fn break_and_mend(mut self, shared: &Shared, seed: u64) -> Result<(Self, Injected), String> {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut injected = Injected::new();
        while !shared.stop.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(dice.random_range(200..1200))).await;
            let lasts = Duration::from_millis(dice.random_range(50..1500));
            let one = dice.random_range(0..self.instances.len());
            let name = match dice.random_range(0..100) {
                0..30 => {
                    self.instances[one].kill().await?;
                    sleep(lasts / 4).await;
                    self.instances[one].start_again()?;
                    self.instances[one].until_ready().await?;
                    "an instance was killed"
                }
                30..55 => way(&self.fronts[one], &mut dice, lasts).await,
                55..92 if !self.backs.is_empty() => way(&self.backs[one], &mut dice, lasts).await,
                92.. if self.database.is_some() => {
                    if let Some(database) = &mut self.database {
                        database.kill().await;
                        sleep(lasts / 4).await;
                        database.start_again().await;
                    }
                    "the database was killed"
                }
                _ => continue,
            };
            *injected.entry(name).or_default() += 1;
        }
        for instance in &mut self.instances {
            instance.until_ready().await?;
        }
        Ok((self, injected))
    }
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
