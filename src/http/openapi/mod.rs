//! `GET /openapi.json`: the interface described for machines, out of the route table, the wire types and a few words on
//! each operation.

mod flask;
mod keys;
mod leases;
mod operation;
mod pools;
mod service;

use std::sync::LazyLock;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, License, OpenApi, OpenApiBuilder, Paths, Tag};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use self::operation::Operation;
use super::health::get_or_head;
use super::reply;
use super::routes::ROUTES;

/// What stands at the top of it.
const ABOUT: &str = "Lends API keys: the least recently used key of a pool that may still be used, every use counted \
exactly, however many callers and instances there are. Errors are problems (RFC 9457) with a stable `code` and a \
`detail` that says what to do next. Every answer carries `X-Request-Id`.";

/// How operations are grouped, in this order.
const TAGS: [(&str, &str); 6] = [
    ("leases", "A use of a key, reserved until it is reported or lapses"),
    ("counting", "Finding a key and counting its uses as the older systems did: nothing is reserved"),
    ("pools", "What there is: policies and statistics"),
    ("keys", "What operators do with keys"),
    ("flask", "The routes of the older Flask server, which always answer 200"),
    ("service", "The service itself"),
];

/// The document, made once.
static DOCUMENT: LazyLock<Vec<u8>> =
    LazyLock::new(|| serde_json::to_vec(&document()).expect("a description is made of texts and numbers"));

pub(super) fn route() -> BoxedFilter<(Response,)> {
    let document = || reply::kept("application/json", DOCUMENT.as_slice());
    warp::path!("openapi.json").and(get_or_head()).map(document).boxed()
}

/// What is told of each operation. Those of the route table are there, and no others: a test holds them to it.
fn operations() -> impl Iterator<Item = Operation> {
    let all = leases::operations().into_iter().chain(pools::operations());
    all.chain(keys::operations()).chain(flask::operations()).chain(service::operations())
}

/// The whole interface.
pub(super) fn document() -> OpenApi {
    let mut paths = Paths::new();
    let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token of the server (`keylend token new`). Where none are set no token is needed, and the server is there \
         for its own machine alone.",
    ));
    let mut components =
        ComponentsBuilder::new().security_scheme(operation::BEARER, SecurityScheme::Http(bearer.build()));
    for operation in operations() {
        let Some(route) = ROUTES.iter().find(|route| operation.is_of(route)) else { continue };
        components = components.schemas_from_iter(operation.schemas());
        paths.add_path_operation(route.path, operation.methods(), operation.described(route));
    }
    let tags = TAGS.map(|(name, about)| Tag::builder().name(name).description(Some(about)).build());
    let mut info = Info::new("keylend", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).tags(Some(tags)).build()
}
