//! Following: a look at each key file when it starts, when the file changes, and from time to time.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::look::{Followed, Looked, Looker};
use super::watch::Watch;
use crate::back_off::BackOff;

/// How often is looked whether the file is another one, for what the watch does not tell.
const POLL: Duration = Duration::from_secs(1);

/// An editor writes in several steps: the look waits for the next ones.
const STEPS: Duration = Duration::from_millis(100);

/// The pause where another instance has the file.
const BUSY: Duration = Duration::from_millis(500);

/// The longest that the end waits for the store to let others have the file.
const LETTING_GO: Duration = Duration::from_secs(2);

/// Files that are followed, each by a task of its own.
pub struct Following {
    tasks: TaskTracker,
    first_looks: Vec<oneshot::Receiver<()>>,
}

/// Follows these files until `stop`.
pub fn follow(files: impl IntoIterator<Item = Followed>, stop: &CancellationToken) -> Following {
    let tasks = TaskTracker::new();
    let mut first_looks = Vec::new();
    for followed in files {
        let (looked, first_look) = oneshot::channel();
        first_looks.push(first_look);
        tasks.spawn(follow_one(Looker::new(followed), stop.clone(), looked));
    }
    tasks.close();
    Following { tasks, first_looks }
}

impl Following {
    /// Waits until each file was looked at once, `limit` at most: a large one is taken over while the service runs.
    pub async fn first_looks(&mut self, limit: Duration) {
        let all = async {
            for looked in self.first_looks.drain(..) {
                let _ = looked.await;
            }
        };
        let _ = timeout(limit, all).await;
    }

    /// Waits until nothing is followed any more, after the stop.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}

async fn follow_one(mut looker: Looker, stop: CancellationToken, looked_once: oneshot::Sender<()>) {
    let watch = Watch::of(looker.path());
    let mut looked_once = Some(looked_once);
    let mut back_off = BackOff::new();
    let mut woken = true;
    while !stop.is_cancelled() {
        let looked = tokio::select! {
            looked = looker.look(woken) => looked,
            () = stop.cancelled() => break,
        };
        let is_done = matches!(looked, Ok(Looked::Done));
        let is_busy = matches!(looked, Ok(Looked::Busy));
        if is_done {
            back_off = BackOff::new();
        }
        let pause = match looked {
            Ok(Looked::Done) => looker.due_at().saturating_duration_since(Instant::now()).min(POLL),
            Ok(Looked::Busy) => BUSY,
            // That the store is away, the log was told by the pool.
            Err(error) => {
                tracing::debug!(path = %looker.path().display(), error = error.chain(), "the look is done again");
                back_off.next()
            }
        };
        if !is_busy && let Some(looked_once) = looked_once.take() {
            let _ = looked_once.send(());
        }
        tokio::select! {
            () = watch.changed() => {
                sleep(STEPS).await;
                woken = true;
            }
            () = sleep(pause) => woken = !is_done,
            () = stop.cancelled() => break,
        }
    }
    let _ = timeout(LETTING_GO, looker.let_go()).await;
}
