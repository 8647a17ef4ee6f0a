//! The older Flask server's routes.

use serde_json::json;
use warp::http::Method;

use super::operation::Operation;
use super::pools::stats;
use crate::wire::flask::{FlaskAnswerReply, TakenReply};

pub(super) fn operations() -> Vec<Operation> {
    let at = |path, id| Operation::new(Method::GET, path, "flask", id);
    let take = |path, id| {
        at(path, id)
            .says(
                "Take a use of the current key",
                "Picked and counted in one step. Always 200: `File is empty` where there is none, `error` where the \
                 store does not answer. HEAD takes nothing.",
            )
            .answers::<TakenReply<'_>>(
                200,
                "The key, or what stands in its place",
                json!({"Key": "sk-0123456789abcdefABCD"}),
            )
    };
    vec![
        take("/api/plantid", "take_plantid"),
        take("/api/healthid", "take_healthid"),
        at("/api/stats", "flask_stats")
            .says("Statistics as the older server had them", "And `pools`, as in /v1/stats, beside them.")
            .answers::<FlaskAnswerReply<'_>>(
                200,
                "The statistics, or `error`",
                json!({
                    "keys": {
                        "plantid": {"keys_available": 3, "status": "Keys available"},
                        "healthid": {"keys_available": 0, "status": "File is empty"},
                    },
                    "requests": {
                        "plantid": {"requests_until_rotation": 63},
                        "healthid": {"requests_until_rotation": 100},
                    },
                    "pools": [stats()],
                }),
            ),
    ]
}
