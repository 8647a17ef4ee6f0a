//! The load generator: closed and open loop over keep-alive connections, in threads of its own.

mod caller;
mod closed;
mod connection;
mod open;
mod tally;
mod told;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::caller::Caller;
use self::closed::Closed;
use self::tally::Window;
use crate::failure::Failure;

pub(crate) use self::caller::{Work, field};
pub(crate) use self::connection::Connection;
pub(crate) use self::tally::Tally;
pub(crate) use self::told::Told;

/// One run of the generator.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// The instances; connections are spread over them.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) work: Work,
    pub(crate) callers: usize,
    pub(crate) shape: Shape,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Each caller asks again when it was answered and has paused; together they do so much at most.
    Closed { pause: Duration, at_most: u64 },
    /// So many requests a second, whatever becomes of those before.
    Open { per_second: u32 },
}

impl Shape {
    /// A closed loop without pause or end.
    pub(crate) const CLOSED: Self = Self::Closed { pause: Duration::ZERO, at_most: u64::MAX };
}

/// How many threads make the load where a service answers more than one of them can ask: `/livez` of two cores.
const THREADS_OF_LIVE: usize = 2;

/// Runs it to its end; all that was asked has been answered then, or given up.
pub(crate) async fn run(load: Load) -> Result<Tally, Failure> {
    let threads = if load.work == Work::Live { THREADS_OF_LIVE.min(load.callers) } else { 1 };
    let mut running = Vec::new();
    for thread in 0..threads {
        let (tell, told) = oneshot::channel();
        let load = load.clone();
        std::thread::Builder::new().name(format!("load-{thread}")).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let done = runtime.and_then(|runtime| runtime.block_on(share(&load, thread, threads)));
            let _ = tell.send(done);
        })?;
        running.push(told);
    }
    let mut tallies = Vec::new();
    for told in running {
        tallies.push(told.await.map_err(|_| Failure::Bench("a thread of the load generator has ended".to_owned()))??);
    }
    Tally::merge(tallies).ok_or_else(|| Failure::Bench("a load without callers".to_owned()))
}

/// What one of the threads does.
async fn share(load: &Load, thread: usize, threads: usize) -> io::Result<Tally> {
    let mut callers: Vec<Caller> = (thread..load.callers)
        .step_by(threads)
        .map(|caller| Caller::new(load.addresses[caller % load.addresses.len()], load.work))
        .collect();
    for caller in &mut callers {
        caller.connect().await?;
    }
    let begin = Instant::now() + load.warm_up;
    let window = Window { begin, end: begin + load.measured };
    let mut tally = match load.shape {
        Shape::Closed { pause, at_most } => {
            closed::run(&mut callers, Closed { window, at_most: at_most / threads as u64, pause }).await
        }
        Shape::Open { per_second } => open::run(&mut callers, open::pace(per_second, window), window).await,
    };
    for caller in callers {
        tally.told.add(&caller.told);
        tally.complaint = tally.complaint.or(caller.complaint);
    }
    Ok(tally)
}
