//! `/`: a page that has all its parts with it, and data only for those who may see it.

use crate::place::Place;
use crate::server::Server;

on_both_stores!(
    the_page_comes_with_its_parts_and_nothing_else,
    what_the_script_fills_in_is_there,
    it_shows_nothing_without_being_asked,
);

async fn the_page_comes_with_its_parts_and_nothing_else(place: Place) {
    let server = Server::start(place).await;
    let page = server.get("/").await;
    let html = page.body.as_str().unwrap();
    let parts = html.split('"').filter(|part| part.starts_with("/page/"));
    let mut answers = vec![("/", "text/html; charset=utf-8")];
    answers.extend(parts.map(|part| match part.rsplit_once('.').unwrap().1 {
        "css" => (part, "text/css; charset=utf-8"),
        "js" => (part, "text/javascript; charset=utf-8"),
        _ => (part, "image/svg+xml"),
    }));
    assert_eq!(answers.len(), 4, "{html}");
    for (path, media_type) in answers {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.headers["content-type"].to_str().unwrap()), (200, media_type), "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        for (header, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
            assert_eq!(answer.headers[header], value);
        }
        // The name of SVG's vocabulary is no address.
        let text = answer.body.as_str().unwrap().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("://"), "{path} asks another host");
        assert!(!text.contains("style=") && !text.contains("innerHTML") && !text.contains("localStorage"), "{path}");
    }
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains(r#"<script src="/page/page.js" defer></script>"#), "{html}");
    for other in ["nothing", "..", "page.rs", "mod.rs"] {
        server.get(&format!("/page/{other}")).await.is_problem(404, "not_found");
    }
}

/// Every place that the script looks for, by its name.
async fn what_the_script_fills_in_is_there(place: Place) {
    let server = Server::start(place).await;
    let html = server.get("/").await.body.as_str().unwrap().to_owned();
    let script = server.get("/page/page.js").await.body.as_str().unwrap().to_owned();
    let places = script.split("querySelector(\"[data-").skip(1).map(|rest| rest.split(']').next().unwrap());
    let puts = script.split("put(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let names: Vec<&str> = places.chain(puts).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(html.contains(&format!(" data-{name}")), "{name}");
    }
    for id in script.split("getElementById(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
    }
    for state in ["usable", "leased", "resting", "spent", "disabled", "invalid"] {
        assert!(html.contains(&format!("data-state=\"{state}\"")), "{state}");
    }
}

async fn it_shows_nothing_without_being_asked(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-0123456789abcdef"]).await;
    server.need_tokens(&["some:stats"]);
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert!(!page.body.as_str().unwrap().contains("once"));
    server.get("/v1/events").await.is_problem(401, "unauthenticated");
}
