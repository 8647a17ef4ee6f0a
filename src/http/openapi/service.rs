//! The service itself: whether it is well, what it measures, how it is described.

use serde_json::json;
use warp::http::Method;

use super::operation::Operation;
use crate::http::health::Health;
use crate::http::problem::Code;

pub(super) fn operations() -> Vec<Operation> {
    let at = |path, id| Operation::new(Method::GET, path, "service", id);
    vec![
        at("/livez", "livez").says("Is the process up?", "").answers::<Health>(200, "It is", json!({"status": "up"})),
        at("/readyz", "readyz")
            .says("Can keys be lent?", "The store answers, and the instance is not stopping.")
            .answers::<Health>(200, "They can", json!({"status": "ready"}))
            .or(&[Code::StoreUnavailable, Code::Overloaded]),
        at("/metrics", "metrics")
            .says("Metrics for Prometheus", "In its text format. docs/monitoring.md names them.")
            .answers_text("The metrics", "text/plain"),
        at("/", "page").says("The pools at a glance, for people", "").answers_text("A page", "text/html"),
        at("/page/{file}", "page_file")
            .says("A part of that page", "")
            .answers_text("The file", "*/*")
            .or(&[Code::NotFound]),
        at("/openapi.json", "openapi")
            .says("This description", "")
            .answers_text("The description, OpenAPI 3.1", "application/json"),
        at("/docs", "docs").says("This description for people", "").answers_text("A page", "text/html"),
        at("/docs/{file}", "docs_file")
            .says("A part of that page", "")
            .answers_text("The file", "*/*")
            .or(&[Code::NotFound]),
    ]
}
