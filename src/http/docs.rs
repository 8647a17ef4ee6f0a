//! `GET /docs`: the description of the interface for people, by Swagger UI, all of it out of the program itself.

use std::sync::{Arc, LazyLock};

use utoipa_swagger_ui::Config;
use warp::filters::BoxedFilter;
use warp::http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::health::get_or_head;
use super::problem::{Answer, Problem};
use super::reply;

/// Nothing of another host, and no script but its own files. Swagger UI styles its elements one by one, and has
/// pictures in its styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = "index.html";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // Without the badge of a service that would look at the description from outside.
    Arc::new(Config::from("/openapi.json").validator_url("none").display_request_duration(true))
});

pub(super) fn routes() -> BoxedFilter<(Response,)> {
    let page = warp::path!("docs").and(get_or_head()).map(|| file(PAGE));
    let files = warp::path!("docs" / String).and(get_or_head()).map(|name: String| file(&name));
    page.or(files).unify().map(Reply::into_response).boxed()
}

fn file(name: &str) -> Answer {
    let file = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)).ok().flatten().ok_or_else(Problem::not_found)?;
    let mut bytes = file.bytes.into_owned();
    if name == PAGE {
        // The page is at /docs, its parts are below it.
        bytes = String::from_utf8_lossy(&bytes).replacen("<head>", "<head><base href=\"/docs/\">", 1).into_bytes();
    }
    let mut response = reply::kept(&file.content_type, bytes);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
