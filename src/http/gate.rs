//! The gate: what is refused before a handler is asked, and how long a handler may take.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Body;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::{Service, ServiceExt};
use tower_http::request_id::RequestId;
use warp::Reply;
use warp::http::Request;
use warp::http::request::Parts;
use warp::reply::Response;

use super::attempts::Attempts;
use super::caller::{Asked, Caller};
use super::problem::{Code, Problem};
use super::routes::{self, Access, Pace, Route, Takes};
use super::{Frame, body, prefer};
use crate::pool::{Pools, clock};

/// A body as handlers get it: as it comes, or as it was read.
pub(super) type Passed<B> = Either<B, Full<Bytes>>;

/// Which route an answer came from.
#[derive(Clone, Copy)]
pub(super) struct Answered(pub(super) &'static Route);

struct Gate<H> {
    handlers: H,
    pools: Arc<Pools>,
    frame: Frame,
    in_flight: Arc<Semaphore>,
    attempts: Attempts,
}

/// Asks `handlers` for what passes the gate.
pub(super) fn gate<H, B>(
    handlers: H,
    pools: Pools,
    frame: Frame,
) -> impl Service<Request<B>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
where
    H: Service<Request<Passed<B>>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    H::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
{
    let in_flight = Arc::new(Semaphore::new(frame.limits.in_flight));
    let gate = Arc::new(Gate { handlers, pools: Arc::new(pools), frame, in_flight, attempts: Attempts::default() });
    tower::service_fn(move |request: Request<B>| {
        let gate = Arc::clone(&gate);
        async move {
            let route = routes::find(request.method(), request.uri().path());
            let route_found = route.as_ref().ok().copied();
            let answer = async { gate.pass(route?, request).await };
            let mut answer = answer.await.unwrap_or_else(Reply::into_response);
            if let Some(route) = route_found {
                answer.extensions_mut().insert(Answered(route));
            }
            Ok(answer)
        }
    })
}

impl<H> Gate<H> {
    fn asked<'a>(&'a self, head: &'a Parts) -> Asked<'a> {
        let request = head.extensions.get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
        Asked {
            headers: &head.headers,
            peer: head.extensions.get().copied(),
            now: clock(),
            attempts: &self.attempts,
            request: request.map(str::to_owned),
            audit: &self.frame.audit,
        }
    }

    async fn pass<B>(&self, route: &'static Route, request: Request<B>) -> Result<Response, Problem>
    where
        H: Service<Request<Passed<B>>, Response = Response, Error = Infallible> + Clone,
        B: Body<Data = Bytes>,
    {
        let limits = &self.frame.limits;
        let (mut head, body) = request.into_parts();
        // Never the path itself: it can hold a lease's id.
        tracing::Span::current().record("route", route.path);
        if route.access != Access::Open {
            self.frame.hosts.check(&head.headers, head.uri.authority())?;
        }
        let mut room = None;
        let caller = match route.access {
            Access::Open => None,
            Access::Flask(_) if self.frame.open_flask => Some(Caller::anybody(self.asked(&head), &self.pools)?),
            Access::Role(role) | Access::Flask(role) => {
                let tokens = Arc::clone(&self.frame.tokens.borrow());
                Some(Caller::of(self.asked(&head), role, &tokens, &self.pools)?)
            }
        };
        if let Some(caller) = caller {
            head.extensions.insert(caller);
            room = Some(self.in_flight.try_acquire().map_err(|_| Problem::crowded())?);
        }
        let body = match route.takes {
            Takes::Json => {
                if !body.is_end_stream() {
                    body::check_is_json(&head.headers)?;
                }
                Either::Right(Full::new(body::collect(body.into_data_stream(), limits).await?))
            }
            Takes::Nothing | Takes::Keys => Either::Left(body),
        };
        let wait = prefer::wait(&head.headers).filter(|_| route.pace == Pace::Waiting);
        if wait.is_some() {
            // Who waits for a key keeps nobody else out; the pools have a limit of their own for them.
            drop(room.take());
        }
        let answer = self.handlers.clone().oneshot(Request::from_parts(head, body));
        let answer = match route.pace {
            Pace::Quick | Pace::Waiting => timeout(limits.handler + wait.unwrap_or(Duration::ZERO), answer).await,
            Pace::Long => Ok(answer.await),
        };
        let Ok(answer) = answer.map_err(|_| {
            tracing::error!("a request was not answered in time");
            Problem::new(Code::Timeout, "the request took too long; look at what became of it before you repeat it")
        })?;
        Ok(answer)
    }
}
