//! The service: what every request passes on its way to the gate, and every answer on its way back.

use std::any::Any;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;
use warp::Reply;
use warp::http::header::AUTHORIZATION;
use warp::http::{Request, Response};

use super::gate::Answered;
use super::problem::{Code, Problem};
use super::request_id::{self, REQUEST_ID};
use super::{Frame, gate, routes, trace_context};
use crate::pool::Pools;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// All routes as one service. Whatever is asked, there is an answer, and it carries the id of its request.
pub fn service<B>(
    pools: Pools,
    frame: Frame,
) -> impl Service<
    Request<B>,
    Response = Response<impl Body<Data = Bytes, Error = impl Into<BoxError> + Send> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static
where
    B: Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BoxError>,
{
    let handlers = warp::service(routes::handlers(&pools, &frame));
    let told = pools.clone();
    ServiceBuilder::new()
        .map_request(request_id::keep_sane)
        .layer(SetRequestIdLayer::new(REQUEST_ID, request_id::Random))
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_request(())
                .on_response(move |response: &Response<_>, took, _: &Span| tell(&told, response, took))
                .on_body_chunk(())
                .on_eos(())
                .on_failure(()),
        )
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(CatchPanicLayer::custom(panicked))
        .service(gate::gate(handlers, pools, frame))
}

/// The span of a request, so that every line under it tells which one it was. The gate adds the route.
fn span<B>(request: &Request<B>) -> Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    // At the level of errors, for it goes with them whatever else is logged.
    let trace = trace_context::of(request.headers());
    tracing::error_span!(
        "request",
        request.id = id,
        trace.id = trace.map(|trace| trace.trace),
        trace.parent = trace.map(|trace| trace.parent),
        method = %request.method(),
        route = tracing::field::Empty
    )
}

fn tell<B>(pools: &Pools, response: &Response<B>, took: Duration) {
    let route = response.extensions().get::<Answered>().map(|Answered(route)| (route.method.as_str(), route.path));
    pools.metrics().answered(route, response.status().as_u16());
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(status = response.status().as_u16(), duration_ms, "answered");
}

/// What was said in the panic is not repeated: it can hold anything.
fn panicked(_: Box<dyn Any + Send>) -> warp::reply::Response {
    tracing::error!("a handler panicked; stderr says where");
    Problem::new(Code::Internal, "the request could not be handled; the log says why").into_response()
}
