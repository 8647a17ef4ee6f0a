//! `GET /`: the pools at a glance, for people. A shell without data; its script asks for `/v1/events`.

use maud::{DOCTYPE, Markup, html};
use std::sync::LazyLock;
use warp::filters::BoxedFilter;
use warp::http::header::{
    CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::health::get_or_head;
use super::problem::{Answer, Problem};
use super::reply;
use crate::domain::State;

/// Nothing of another host, and no script or style but its own files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The parts of the page: name, media type, content.
const FILES: [(&str, &str, &str); 3] = [
    ("page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// The states in the order in which they are shown: what can be lent first.
const STATES: [State; 6] =
    [State::Usable, State::Leased, State::Resting, State::Spent, State::Disabled, State::Invalid];

static PAGE: LazyLock<String> = LazyLock::new(|| page().into_string());

pub(super) fn routes() -> BoxedFilter<(Response,)> {
    let page = warp::path::end().and(get_or_head()).map(|| Ok(guarded("text/html; charset=utf-8", PAGE.as_str())));
    let files = warp::path!("page" / String).and(get_or_head()).map(|name: String| file(&name));
    page.or(files).unify().map(Reply::into_response).boxed()
}

fn file(name: &str) -> Answer {
    let file = FILES.into_iter().find(|(known, _, _)| *known == name);
    let (_, media_type, content) = file.ok_or_else(Problem::not_found)?;
    Ok(guarded(media_type, content))
}

fn guarded(media_type: &str, content: &'static str) -> Response {
    let mut response = reply::kept(media_type, content);
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn page() -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "keylend" }
                link rel="icon" type="image/svg+xml" href="/page/icon.svg";
                link rel="stylesheet" href="/page/page.css";
                script src="/page/page.js" defer {}
            }
            body {
                header {
                    h1 { "keylend" }
                    p #status role="status" aria-live="polite" data-is="waiting" { "Connecting ..." }
                    nav aria-label="More" {
                        a href="/docs" { "Interface" }
                    }
                }
                (token_form())
                main #pools aria-busy="true" {}
                noscript { p.note { "This page needs JavaScript: it asks the server for what it shows." } }
                footer {
                    p {
                        "Keys and uses are those of the store. Hand-outs, and what happened to keys, are what this \
                         instance (version " (env!("CARGO_PKG_VERSION")) ") did and saw since it was started."
                    }
                }
                (pool_template())
            }
        }
    }
}

/// Where the server wants a token. It is kept by the script, for as long as the tab is open.
fn token_form() -> Markup {
    html! {
        form #token hidden aria-label="Token" autocomplete="off" {
            label for="secret" { "Token with the role stats" }
            input #secret type="password" required autocomplete="off" spellcheck="false" aria-describedby="why";
            button type="submit" { "Show the pools" }
            p #why.note { "It stays in this tab: reload the page and it is forgotten." }
        }
    }
}

/// One pool, as the script fills it in.
fn pool_template() -> Markup {
    html! {
        template #pool {
            section.pool {
                div.head {
                    h2 data-name {}
                    p.note data-policy {}
                }
                dl.figures {
                    div { dt { "Uses left" } dd.big data-left {} }
                    div { dt { "Dry in" } dd data-dry {} }
                    div { dt { "Open leases" } dd data-leases {} }
                    div { dt { "Next key due" } dd data-due {} }
                }
                svg.bar role="img" viewBox="0 0 100 4" preserveAspectRatio="none" data-bar {}
                dl.states {
                    @for state in STATES {
                        div { dt class=(state.as_str()) { (state.as_str()) } dd data-state=(state.as_str()) {} }
                    }
                }
                p.note data-empty hidden {}
                div.charts {
                    figure {
                        figcaption { "Hand-outs a minute" }
                        svg role="img" viewBox="0 0 240 48" preserveAspectRatio="none" data-minutes {}
                        p.ends aria-hidden="true" { span { "an hour ago" } span { "now" } }
                    }
                    figure {
                        figcaption { "Keys by uses counted" }
                        svg role="img" viewBox="0 0 240 48" preserveAspectRatio="none" data-counts {}
                        p.ends aria-hidden="true" { span data-first {} span data-last {} }
                    }
                }
                h3 { "What happened last" }
                ol.moved data-moved tabindex="0" {}
            }
        }
    }
}
