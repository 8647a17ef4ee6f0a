use warp::http::Method;

use crate::place::Place;
use crate::server::Server;

on_both_stores!(a_running_server_is_up_and_ready, a_server_that_stops_is_not_ready);

async fn a_running_server_is_up_and_ready(place: Place) {
    let server = Server::start(place).await;
    assert_eq!(server.get("/livez").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(server.ask(Method::HEAD, "/livez", &[], "").await.status, 200);
    server.post_empty("/livez").await.is_problem(405, "method_not_allowed");
}

async fn a_server_that_stops_is_not_ready(place: Place) {
    let server = Server::start(place).await;
    server.frame.stopping.cancel();
    let stopping = server.get("/readyz").await;
    stopping.is_problem(503, "overloaded");
    assert_eq!(stopping.headers["retry-after"], "1");
    assert_eq!(server.get("/livez").await.status, 200);
}
