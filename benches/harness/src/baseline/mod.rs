//! The services that one would write in an afternoon, to measure keylend against. They have its routes and answers, and
//! none of its care: no time limits, nothing about answers that are lost, no leases that lapse.

mod first;
mod second;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bson::oid::ObjectId;
use bson::{Document, doc};
use clap::{Args, ValueEnum};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use mongodb::{Client, Collection};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, Reply};

use crate::failure::Failure;
use crate::place::{Base, PLANTID, STABILITY, mongodb_uri};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// One sorted find-and-modify per request
    First,
    /// 100 candidates by equality, a guarded update of a random one, again where somebody was faster
    Second,
}

impl Which {
    /// As an argument.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Baseline {
    which: Which,
    #[arg(long)]
    mongodb_database: String,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    uses_per_key: u32,
}

/// What the handlers share.
struct Service {
    which: Which,
    stability: Collection<Document>,
    plantid: Collection<Document>,
    uses_per_key: u32,
    /// The key that `/api/plantid` is at.
    current: Mutex<Option<ObjectId>>,
}

type Found = Result<Option<Document>, mongodb::error::Error>;

impl Service {
    /// Stamps the key that goes first, and counts a use of it where `count` is 1.
    async fn pick(&self, count: u32) -> Found {
        match self.which {
            Which::First => first::pick(&self.stability, self.uses_per_key, count).await,
            Which::Second => second::pick(&self.stability, self.uses_per_key, count).await,
        }
    }

    async fn lease(&self) -> Response {
        answer(self.pick(1).await, |key| {
            let lease = format!("{:032x}", rand::random::<u128>());
            let body = json!({"lease_id": lease, "id": id(key), "api_key": key.get_str("api_key").unwrap_or_default()});
            warp::reply::with_status(warp::reply::json(&body), StatusCode::CREATED).into_response()
        })
    }

    async fn find_usable_key(&self) -> Response {
        answer(self.pick(0).await, |key| {
            let body = json!({"id": id(key), "api_key": key.get_str("api_key").unwrap_or_default()});
            warp::reply::json(&body).into_response()
        })
    }

    async fn increment_usage(&self, id: &str) -> Response {
        let Ok(id) = ObjectId::parse_str(id) else { return StatusCode::BAD_REQUEST.into_response() };
        let count = doc! {"$inc": {"usage_count": 1}, "$currentDate": {"last_used": true}};
        match self.stability.update_one(doc! {"_id": id}, count).await {
            Ok(counted) if counted.matched_count == 1 => warp::reply::json(&json!({"id": id.to_hex()})).into_response(),
            Ok(_) => StatusCode::NOT_FOUND.into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    async fn take(&self) -> Response {
        match first::take(&self.plantid, self.uses_per_key, &self.current).await {
            Ok(Some(key)) => {
                let secret = key.get_str("api_key").unwrap_or_default();
                warp::reply::json(&json!({"Key": secret})).into_response()
            }
            Ok(None) => warp::reply::json(&json!({"Key": "File is empty"})).into_response(),
            Err(_) => warp::reply::json(&json!({"error": "Internal server error"})).into_response(),
        }
    }
}

fn id(key: &Document) -> String {
    key.get_object_id("_id").map(ObjectId::to_hex).unwrap_or_default()
}

fn answer(found: Found, reply: impl FnOnce(&Document) -> Response) -> Response {
    match found {
        Ok(Some(key)) => reply(&key),
        Ok(None) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(error) => {
            // The log of the run tells why a baseline refused.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Deserialize)]
struct Increment {
    id: String,
}

/// Serves until the process is ended.
pub(crate) async fn serve(baseline: Baseline) -> Result<(), Failure> {
    let uri = mongodb_uri().ok_or_else(|| Failure::Bench("a baseline needs KEYLEND_TEST_MONGODB_URI".to_owned()))?;
    let base = Base { client: Client::with_uri_str(&uri).await?, uri, name: baseline.mongodb_database };
    let service = Arc::new(Service {
        which: baseline.which,
        stability: base.keys(STABILITY),
        plantid: base.keys(PLANTID),
        uses_per_key: baseline.uses_per_key,
        current: Mutex::new(None),
    });
    let with = move || {
        let service = Arc::clone(&service);
        warp::any().map(move || Arc::clone(&service))
    };
    let stability = || warp::path!("v1" / "pools" / "stability" / ..);
    let lease = stability().and(warp::path!("leases")).and(warp::post()).and(with());
    let lease = lease.then(async |service: Arc<Service>| service.lease().await);
    let find = stability().and(warp::path!("find_usable_key")).and(warp::post()).and(with());
    let find = find.then(async |service: Arc<Service>| service.find_usable_key().await);
    let increment = stability().and(warp::path!("increment_usage")).and(warp::post()).and(with());
    let increment = increment.and(warp::body::json());
    let increment =
        increment.then(async |service: Arc<Service>, body: Increment| service.increment_usage(&body.id).await);
    let take = warp::path!("api" / "plantid").and(warp::get()).and(with());
    let take = take.then(async |service: Arc<Service>| service.take().await);
    let live = warp::path!("livez").map(|| StatusCode::OK.into_response());
    let routes = lease.or(find).unify().or(increment).unify().or(take).unify().or(live).unify();
    let service = TowerToHyperService::new(warp::service(routes));
    let listener = TcpListener::bind(baseline.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()));
    }
}
