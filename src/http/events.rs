//! `GET /v1/events`: the pools as they are, again whenever something changed, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, HeaderValue};
use warp::reply::Response;
use warp::sse::Event;
use warp::{Filter, Reply};

use super::caller::{Caller, caller};
use super::health::get_or_head;
use super::problem::{Answer, Code, Problem};
use crate::domain::Timestamp;
use crate::wire::events::{EventReply, PoolEventReply};

/// How many may look on at once. Who comes when they are as many is told so.
const VIEWERS: usize = 64;

/// The pause between two looks. The stats behind them are computed once for all who look.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// After so long the same is sent again, so that both sides know that the other is there.
const STILL_THERE: Duration = Duration::from_secs(15);

pub(super) fn route(stopping: CancellationToken) -> BoxedFilter<(Response,)> {
    let places = Arc::new(Semaphore::new(VIEWERS));
    warp::path!("v1" / "events")
        .and(get_or_head())
        .and(caller())
        .then(move |caller| events(caller, Arc::clone(&places), stopping.clone()))
        .map(Reply::into_response)
        .boxed()
}

/// One who looks on.
struct Viewer {
    caller: Caller,
    stopping: CancellationToken,
    /// The pools as they were sent last, and when.
    sent: Option<(String, Instant)>,
    _place: OwnedSemaphorePermit,
}

async fn events(caller: Caller, places: Arc<Semaphore>, stopping: CancellationToken) -> Answer {
    let place = places.try_acquire_owned().map_err(|_| Problem::crowded())?;
    let viewer = Viewer { caller, stopping, sent: None, _place: place };
    let (events, told) = mpsc::channel(1);
    tokio::spawn(viewer.tell(events).in_current_span());
    let events = stream::unfold(told, |mut told| async move { Some((Ok::<_, Infallible>(told.recv().await?), told)) });
    let mut response = warp::sse::reply(events).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Viewer {
    /// Tells of the pools until nobody looks on any more, or the instance stops.
    async fn tell(mut self, events: mpsc::Sender<Event>) {
        loop {
            let next = tokio::select! {
                next = self.next() => next,
                () = events.closed() => None,
            };
            let Some(event) = next else { return };
            if events.send(event).await.is_err() {
                return;
            }
        }
    }

    /// The next event, as soon as there is something to tell; None = the instance stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.sent.is_some() {
                let stopping = self.stopping.clone();
                stopping.run_until_cancelled(sleep(LOOK_AGAIN)).await?;
            }
            let (name, what, data) = match self.look().await {
                Ok((pools, data)) => ("pools", pools, data),
                Err(problem) => ("problem", problem.body(), problem.body()),
            };
            // That they were counted anew changes nothing by itself.
            let is_new = self.sent.as_ref().is_none_or(|(sent, at)| *sent != what || at.elapsed() >= STILL_THERE);
            if is_new {
                self.sent = Some((what, Instant::now()));
                return Some(Event::default().event(name).data(data));
            }
        }
    }

    /// The pools that the caller may see, and these with their instant, as JSON.
    async fn look(&self) -> Result<(String, String), Problem> {
        let (mut pools, mut generated_at) = (Vec::new(), None);
        for pool in self.caller.pools() {
            let stats = pool.stats().await?;
            let oldest: Timestamp = generated_at.unwrap_or(stats.generated_at);
            generated_at = Some(oldest.min(stats.generated_at));
            pools.push(PoolEventReply::new(pool.policy(), &stats, pool.lately(&stats).await));
        }
        let unshown = |_| Problem::new(Code::Internal, "the pools cannot be shown");
        let what = serde_json::to_string(&pools).map_err(unshown)?;
        Ok((what, serde_json::to_string(&EventReply { generated_at, pools }).map_err(unshown)?))
    }
}
