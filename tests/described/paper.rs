//! docs/api.md, typed.

use std::path::Path;

use keylend::http::routes::ROUTES;

use crate::typed::{blocks, type_lines};

const PAPER: &str = include_str!("../../docs/api.md");

/// What differs from run to run, alike: ids of keys and leases, and instants.
fn tidy(text: &str) -> String {
    let mut tidy = String::new();
    let mut rest = text.trim_end();
    while let Some(first) = rest.chars().next() {
        let digits = rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len());
        let is_instant = rest.len() >= 24 && rest.as_bytes()[10] == b'T' && rest.as_bytes()[23] == b'Z';
        let (shown, length) = match digits {
            24 | 32 => ('~', digits),
            4 if is_instant => ('~', 24),
            _ => (first, first.len_utf8()),
        };
        tidy.push(shown);
        rest = &rest[length..];
    }
    tidy
}

#[test]
fn the_lines_of_the_paper_do_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let programs = Path::new(env!("CARGO_BIN_EXE_keylend")).parent().unwrap();
    type_lines(&blocks(PAPER), folder.path(), programs, port, tidy);
}

#[test]
fn every_route_is_there_as_curl_and_as_python() {
    for route in ROUTES.iter().filter(|route| !route.path.ends_with("/{file}")) {
        let heading = format!("### `{} {}`\n", route.method, route.path);
        let part = PAPER.split_once(&heading).unwrap_or_else(|| panic!("there is no {heading}")).1;
        let part = part.split("\n### ").next().unwrap();
        assert!(part.contains("```sh\n") && part.contains("curl ") && part.contains("```python\n"), "{heading}");
    }
}
