//! `/v1/events`: who looks on sees what the stats say, what changes, and nothing of other pools.

use bytes::Bytes;
use http_body_util::Full;
use keylend::domain::Timestamp;
use keylend::http;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use warp::http::Request;

use crate::place::{Place, TIME_LIMIT};
use crate::server::Server;

on_both_stores!(
    the_first_event_says_what_the_stats_say,
    what_changes_is_told_with_what_did_it,
    a_token_of_some_pools_sees_these_alone_go_by,
    as_many_look_on_as_may,
    it_ends_when_the_instance_stops,
    nothing_is_told_while_nothing_changes,
);

/// One who looks on.
struct Viewer<B>(B);

/// A service that many look on by.
macro_rules! service {
    ($server:expr) => {
        http::service::<Full<Bytes>>($server.pools.clone(), $server.frame.clone())
    };
}

/// The status of an attempt to look on, and the viewer.
macro_rules! look_on {
    ($service:expr, $token:expr) => {{
        let request = Request::builder().uri("/v1/events").header("authorization", format!("Bearer {}", $token));
        let Ok(reply) = $service.clone().oneshot(request.body(Full::default()).unwrap()).await;
        (reply.status().as_u16(), Viewer(reply.into_body()))
    }};
}

impl<B: http_body_util::BodyExt<Data = Bytes> + Unpin> Viewer<B> {
    /// The next event; None = it ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        let frame = timeout(TIME_LIMIT, self.0.frame()).await.expect("an event")?;
        let data = frame.ok().unwrap().into_data().ok().unwrap();
        let text = std::str::from_utf8(&data).unwrap();
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        Some((line("event:"), serde_json::from_str(&line("data:")).unwrap()))
    }

    /// The next event that is as expected.
    async fn until(&mut self, expected: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + 3 * TIME_LIMIT;
        loop {
            let (name, pools) = self.next().await.expect("it goes on");
            assert_eq!(name, "pools", "{pools}");
            if expected(&pools) {
                return pools;
            }
            assert!(Instant::now() < deadline, "{pools}");
        }
    }
}

async fn the_first_event_says_what_the_stats_say(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one", "sk-two"]).await;
    server.post_empty("/v1/pools/once/leases").await;
    server.until_stats(|stats| stats["pools"][3]["keys"]["leased"] == 1).await;
    let service = service!(server);
    let (status, mut viewer) = look_on!(service, "");
    assert_eq!(status, 200);
    let (name, told) = viewer.next().await.unwrap();
    assert_eq!(name, "pools");
    let stats = server.get("/v1/stats").await.body;
    for (told, stats) in told["pools"].as_array().unwrap().iter().zip(stats["pools"].as_array().unwrap()) {
        for (member, value) in stats.as_object().unwrap() {
            assert_eq!(&told[member], value, "{member}");
        }
        let handed_out: u64 =
            told["hand_outs_per_minute"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(handed_out, u64::from(told["name"] == "once"), "{told}");
        assert_eq!(told["hand_outs_per_minute"].as_array().unwrap().len(), 60);
    }
}

async fn what_changes_is_told_with_what_did_it(place: Place) {
    let server = Server::with_keys(place, "stability", &["sk-0123456789abcdef"]).await;
    let service = service!(server);
    let (_, mut viewer) = look_on!(service, "");
    let moved = |pools: &Value| pools["pools"][0]["transitions"].as_array().unwrap().clone();
    assert_eq!(moved(&viewer.next().await.unwrap().1), Vec::<Value>::new());
    let lease = server.post_empty("/v1/pools/stability/leases").await;
    let path = format!("/v1/leases/{}/report", lease.text("lease_id"));
    server.post(&path, json!({"outcome": "rejected"})).await;
    let seen = viewer.until(|pools| !moved(pools).is_empty()).await;
    let [moved] = &moved(&seen)[..] else { panic!("{seen}") };
    let expected = json!({
        "at": moved["at"], "id": lease.body["id"], "masked": "sk-01...cdef", "keys": 1, "to": "disabled", "why": "rejected",
    });
    assert_eq!(moved, &expected);
    let text = seen.to_string();
    assert!(!text.contains("sk-0123456789abcdef") && !text.contains(lease.text("lease_id")));
    viewer.until(|pools| pools["pools"][0]["keys"]["disabled"] == 1).await;
}

async fn a_token_of_some_pools_sees_these_alone_go_by(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one"]).await;
    server.need_tokens(&["some:stats@stability", "other:service"]);
    let service = service!(server);
    let (status, mut viewer) = look_on!(service, "some");
    assert_eq!(status, 200);
    let (_, told) = viewer.next().await.unwrap();
    let names: Vec<&Value> = told["pools"].as_array().unwrap().iter().map(|pool| &pool["name"]).collect();
    assert_eq!(names, ["stability"]);
    assert_eq!(look_on!(service, "other").0, 403);
    assert_eq!(look_on!(service, "nobody").0, 401);
}

async fn as_many_look_on_as_may(place: Place) {
    let server = Server::start(place).await;
    let service = service!(server);
    let mut viewers = Vec::new();
    for _ in 0..64 {
        let (status, viewer) = look_on!(service, "");
        assert_eq!(status, 200);
        viewers.push(viewer);
    }
    assert_eq!(look_on!(service, "").0, 503);
    viewers.pop();
    let deadline = Instant::now() + TIME_LIMIT;
    while look_on!(service, "").0 != 200 {
        assert!(Instant::now() < deadline, "who has left makes no room");
        tokio::task::yield_now().await;
    }
}

async fn nothing_is_told_while_nothing_changes(place: Place) {
    let server = Server::with_keys(place, "once", &["sk-one", "sk-two"]).await;
    let service = service!(server);
    let (_, mut viewer) = look_on!(service, "");
    let first = viewer.next().await.unwrap().1;
    // Looks at the same pools go by untold, until there is a change.
    let change = async {
        let deadline = Instant::now() + TIME_LIMIT;
        let at = |told: &Value| told["generated_at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_millis();
        // Until it has been counted anew for two looks, a second apart each.
        while at(&server.get("/v1/pools/once/stats").await.body) < at(&first) + 2_500 {
            assert!(Instant::now() < deadline, "it is not counted anew");
        }
        server.post_empty("/v1/pools/once/leases").await
    };
    let (_, next) = tokio::join!(change, viewer.next());
    let handed_out = |told: &Value| told["pools"][3]["hand_outs_per_minute"].to_string();
    let next = next.unwrap().1;
    assert_ne!(handed_out(&first), handed_out(&next), "{next}");
}

async fn it_ends_when_the_instance_stops(place: Place) {
    let server = Server::start(place).await;
    let service = service!(server);
    let (_, mut viewer) = look_on!(service, "");
    assert!(viewer.next().await.is_some());
    server.frame.stopping.cancel();
    assert!(viewer.next().await.is_none());
}
