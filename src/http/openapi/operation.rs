//! One operation as it is described: what is its own, and what follows from its row in the route table.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::link::Link;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder, SecurityRequirement, path,
};
use utoipa::{PartialSchema, ToSchema};
use warp::http::Method;

use crate::domain::{KeyId, LeaseId, PoolName, Role};
use crate::http::problem::{Code, ProblemBody};
use crate::http::routes::{Access, Route, Takes};

/// The name of the security scheme.
pub(super) const BEARER: &str = "token";

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

type Named = (String, RefOr<Schema>);

/// What an answer or a body holds.
struct Held {
    media_type: &'static str,
    /// None for lines of text, whose shape JSON Schema has no words for.
    schema: Option<RefOr<Schema>>,
    example: Option<Value>,
}

/// An answer that is no problem.
struct Answer {
    status: u16,
    description: &'static str,
    held: Vec<Held>,
    headers: Vec<(&'static str, &'static str)>,
    links: Vec<(&'static str, Link)>,
}

/// An operation of the interface.
pub(super) struct Operation {
    method: Method,
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: String,
    parameters: Vec<Parameter>,
    body: Vec<Held>,
    body_is_required: bool,
    answers: Vec<Answer>,
    problems: Vec<Code>,
    schemas: Vec<Named>,
}

impl Operation {
    /// An operation of the route with this method and path.
    pub(super) fn new(method: Method, path: &'static str, tag: &'static str, id: &'static str) -> Self {
        Self {
            method,
            path,
            id,
            tag,
            summary: "",
            description: String::new(),
            parameters: Vec::new(),
            body: Vec::new(),
            body_is_required: false,
            answers: Vec::new(),
            problems: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// What it does, in a few words and in as many as it takes.
    pub(super) fn says(mut self, summary: &'static str, description: &str) -> Self {
        self.summary = summary;
        self.description = description.to_owned();
        self
    }

    /// A member of the query.
    pub(super) fn query(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(name, ParameterIn::Query, description, schema.into())
    }

    /// A header that it heeds.
    pub(super) fn header(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(name, ParameterIn::Header, description, schema.into())
    }

    fn parameter(mut self, name: &str, place: ParameterIn, description: &str, schema: RefOr<Schema>) -> Self {
        let required = if place == ParameterIn::Path { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(required);
        self.parameters.push(parameter.description(Some(description)).schema(Some(schema)).build());
        self
    }

    /// It takes this as JSON.
    pub(super) fn takes<T: ToSchema>(mut self, example: Value) -> Self {
        self.body_is_required = true;
        let schema = self.named::<T>();
        self.body.push(Held { media_type: JSON, schema: Some(schema), example: Some(example) });
        self
    }

    /// It takes this as JSON, or nothing.
    pub(super) fn may_take<T: ToSchema>(self, example: Value) -> Self {
        let operation = self.takes::<T>(example);
        Self { body_is_required: false, ..operation }
    }

    /// It takes lines of text as well.
    pub(super) fn takes_text(mut self, media_type: &'static str, example: &str) -> Self {
        self.body.push(Held { media_type, schema: None, example: Some(example.into()) });
        self
    }

    /// It answers this as JSON.
    pub(super) fn answers<T: ToSchema>(mut self, status: u16, description: &'static str, example: Value) -> Self {
        let schema = self.named::<T>();
        let held = vec![Held { media_type: JSON, schema: Some(schema), example: Some(example) }];
        self.answers.push(Answer { status, description, held, headers: Vec::new(), links: Vec::new() });
        self
    }

    /// It answers text.
    pub(super) fn answers_text(mut self, description: &'static str, media_type: &'static str) -> Self {
        let held = vec![Held { media_type, schema: Some(text()), example: None }];
        self.answers.push(Answer { status: 200, description, held, headers: Vec::new(), links: Vec::new() });
        self
    }

    /// It answers events that hold this, for as long as the caller reads them.
    pub(super) fn answers_events<T: ToSchema>(mut self, description: &'static str) -> Self {
        self.named::<T>();
        self.answers_text(description, "text/event-stream")
    }

    /// It answers without a body.
    pub(super) fn answers_nothing(mut self, status: u16, description: &'static str) -> Self {
        self.answers.push(Answer { status, description, held: Vec::new(), headers: Vec::new(), links: Vec::new() });
        self
    }

    /// The answer named last has this header besides.
    pub(super) fn with(mut self, header: &'static str, description: &'static str) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.push((header, description));
        }
        self
    }

    /// With the answer named last another operation can be asked, with these of its parameters.
    pub(super) fn leads_to(mut self, operation: &'static str, parameters: &[(&str, &str)]) -> Self {
        let link = Link::builder().operation_id(operation);
        let link = parameters.iter().fold(link, |link, (name, value)| link.parameter(*name, *value));
        if let Some(answer) = self.answers.last_mut() {
            answer.links.push((operation, link.build()));
        }
        self
    }

    /// It can end in these problems, besides those that follow from its route.
    pub(super) fn or(mut self, problems: &[Code]) -> Self {
        self.problems.extend_from_slice(problems);
        self
    }

    /// A reference to a schema, which is remembered with all that it refers to.
    fn named<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        Ref::from_schema_name(T::name()).into()
    }

    /// Whether it is described by this row.
    pub(super) fn is_of(&self, route: &Route) -> bool {
        (&self.method, self.path) == (&route.method, route.path)
    }

    /// The schemas that it refers to.
    pub(super) fn schemas(&self) -> Vec<Named> {
        let mut schemas = self.schemas.clone();
        ProblemBody::schemas(&mut schemas);
        schemas.push((ProblemBody::name().into_owned(), ProblemBody::schema()));
        schemas
    }

    pub(super) fn methods(&self) -> Vec<HttpMethod> {
        let method = match self.method {
            Method::POST => HttpMethod::Post,
            Method::PATCH => HttpMethod::Patch,
            Method::DELETE => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        vec![method]
    }

    /// The whole of it, with what follows from its row.
    pub(super) fn described(mut self, route: &Route) -> path::Operation {
        self = self.with_path();
        let (needs, problems) = of_row(route, self.path);
        self.problems.extend(problems);
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(Some(format!("{}\n\n{}", self.description, needs).trim()))
            .parameters(Some(std::mem::take(&mut self.parameters)))
            .securities(Some(security(route.access)));
        if !self.body.is_empty() {
            let required = if self.body_is_required { Required::True } else { Required::False };
            let body = RequestBodyBuilder::new().required(Some(required));
            let body = self.body.drain(..).fold(body, |body, held| body.content(held.media_type, held.content()));
            operation = operation.request_body(Some(body.build()));
        }
        operation.responses(self.responses()).build()
    }

    fn with_path(self) -> Self {
        let names: Vec<&str> = self.path.split('/').filter(|segment| segment.starts_with('{')).collect();
        names.into_iter().fold(self, |operation, name| {
            let (description, schema) = match name {
                "{pool}" => ("The pool", PoolName::schema()),
                "{lease_id}" => ("The `lease_id` of a lease's answer, as it is", LeaseId::schema()),
                "{id}" => ("The key's public id", KeyId::schema()),
                _ => ("The file", text()),
            };
            operation.parameter(name.trim_matches(['{', '}']), ParameterIn::Path, description, schema)
        })
    }

    fn responses(&mut self) -> ResponsesBuilder {
        let mut responses = ResponsesBuilder::new();
        for answer in self.answers.drain(..) {
            let mut response = ResponseBuilder::new().description(answer.description);
            response = response.header("X-Request-Id", header("The id of the request, in the log too"));
            for (name, description) in answer.headers {
                response = response.header(name, header(description));
            }
            for (operation, link) in answer.links {
                response = response.link(operation, link);
            }
            for held in answer.held {
                response = response.content(held.media_type, held.content());
            }
            responses = responses.response(answer.status.to_string(), response);
        }
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in self.problems.drain(..) {
            let codes = by_status.entry(code.status().as_u16()).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        by_status.into_iter().fold(responses, |responses, (status, codes)| {
            responses.response(status.to_string(), problem(status, &codes))
        })
    }
}

impl Held {
    fn content(self) -> utoipa::openapi::Content {
        ContentBuilder::new().schema(self.schema).example(self.example).build()
    }
}

/// Who may ask, in words, and the problems that every operation with such a row can end in.
fn of_row(route: &Route, path: &str) -> (String, Vec<Code>) {
    let mut problems = vec![Code::Internal];
    let needs = match route.access {
        Access::Open => "Open: needs no token.".to_owned(),
        Access::Role(role) => format!("Needs a token with the role `{}`.", role.as_str()),
        Access::Flask(role) => {
            format!("Needs a token with the role `{}`, unless `KEYLEND_OPEN_FLASK` is set.", role.as_str())
        }
    };
    if route.access != Access::Open {
        problems.extend([
            Code::Unauthenticated,
            Code::Forbidden,
            Code::TooManyRequests,
            Code::Overloaded,
            Code::Timeout,
        ]);
    }
    // What changes something, or gives all secrets away, is written down before.
    if route.access == Access::Role(Role::Admin) && (route.method != Method::GET || path.ends_with("/export")) {
        problems.push(Code::AuditUnavailable);
    }
    if matches!(route.takes, Takes::Json | Takes::Keys) {
        problems.extend([Code::InvalidRequest, Code::TooLarge, Code::UnsupportedMediaType]);
    }
    for (part, also) in [
        ("{pool}", &[Code::UnknownPool][..]),
        ("{id}", &[Code::InvalidRequest, Code::UnknownKey]),
        ("{lease_id}", &[Code::InvalidRequest, Code::UnknownPool, Code::LeaseGone]),
    ] {
        if path.contains(part) {
            problems.extend_from_slice(also);
        }
    }
    (needs, problems)
}

/// No token where none are set, or one.
fn security(access: Access) -> Vec<SecurityRequirement> {
    match access {
        Access::Open => Vec::new(),
        Access::Flask(_) => vec![SecurityRequirement::default(), SecurityRequirement::new(BEARER, [] as [&str; 0])],
        Access::Role(_) => vec![SecurityRequirement::new(BEARER, [] as [&str; 0])],
    }
}

fn problem(status: u16, codes: &[Code]) -> ResponseBuilder {
    let names: Vec<String> = codes.iter().map(|code| format!("`{}`", code.name())).collect();
    let schema = Ref::from_schema_name(ProblemBody::name());
    let example = codes.first().map(|code| ProblemBody::example(*code));
    let content = ContentBuilder::new().schema(Some(schema)).example(example).build();
    let mut response = ResponseBuilder::new().description(names.join(", ")).content(PROBLEM, content);
    response = response.header("X-Request-Id", header("The id of the request, in the log too"));
    match status {
        401 => response.header("WWW-Authenticate", header("`Bearer`")),
        429 | 503 => response
            .header("Retry-After", header("After how many seconds to ask again; not there where nothing will change")),
        _ => response,
    }
}

fn header(description: &str) -> utoipa::openapi::header::Header {
    HeaderBuilder::new().schema(Some(text())).description(Some(description)).build()
}

/// Any text.
pub(super) fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

/// Texts of this shape.
pub(super) fn shaped(pattern: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into()
}

/// A whole number of this range.
pub(super) fn whole(least: u32, most: u32) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(most)).into()
}
