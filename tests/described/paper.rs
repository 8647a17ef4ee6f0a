//! docs/api.md, typed.

use std::path::Path;

use keylend::http::routes::ROUTES;

use crate::typed::{Desk, alike, blocks, is_typed};

const PAPER: &str = include_str!("../../docs/api.md");

#[test]
fn the_lines_of_the_paper_do_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let programs = Path::new(env!("CARGO_BIN_EXE_keylend")).parent().unwrap();
    let in_place_of = [("127.0.0.1:5000", format!("127.0.0.1:{port}"))];
    let desk = Desk {
        paper: "docs/api.md",
        folder: folder.path(),
        programs: &[programs],
        environment: &[],
        in_place_of: &in_place_of,
    };
    desk.type_lines(&blocks(PAPER), is_typed, alike);
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
