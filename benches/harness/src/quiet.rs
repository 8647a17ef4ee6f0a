//! Waits until the machine has nothing else to do: a database goes on tidying up after the run before.

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// How long the processors are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The share of their time that they may be busy.
const QUIET: f64 = 0.08;

/// The longest wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the processors are idle, or says that they are not.
pub(crate) async fn quiet() -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = times()?;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = times()?;
        let (busy, all) = (now.0 - before.0, now.1 - before.1);
        if busy <= QUIET * all {
            return Ok(());
        }
        if Instant::now() > deadline {
            let percent = 100.0 * busy / all;
            eprintln!("speed: the machine is not quiet: its processors are busy for {percent:.0} % of the time");
            return Ok(());
        }
        before = now;
    }
}

/// How long the processors were busy, and how long there were any, since the machine started, in ticks.
fn times() -> Result<(f64, f64), Failure> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, ..; see proc_stat(5).
    let all: f64 = fields.iter().take(8).sum();
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}
