//! What keylend counts and measures for those who monitor it, as Prometheus reads it.
//!
//! Names follow its conventions: `keylend_` first, the unit last, counters end in `_total`. A label holds only what is
//! known at the start, the names of pools, routes and operations: never what a caller sends, and nothing of a key.

mod pool;
#[cfg(target_os = "linux")]
mod process;
mod store;
mod text;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use pool::{HandOut, PoolMetrics};
pub use store::StoreMetrics;

use crate::domain::PoolName;

/// The bounds of the buckets of what lasts as long as an answer, in seconds.
const ANSWERS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// All that one instance counts and measures.
pub struct Metrics {
    registry: Registry,
    pools: pool::Families,
    store: StoreMetrics,
    requests: Family<Request, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let keylend = registry.sub_registry_with_prefix("keylend");
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        keylend.register("build_info", "The version of this instance, always 1", build);
        let pools = pool::Families::registered(keylend);
        let store = StoreMetrics::registered(keylend);
        let requests = Family::default();
        keylend.register("http_requests", "Requests answered, by route and status", Family::clone(&requests));
        #[cfg(target_os = "linux")]
        registry.register_collector(Box::new(process::Process));
        Self { registry, pools, store, requests }
    }
}

impl Metrics {
    /// Those of one pool.
    pub fn pool(&self, name: &PoolName) -> PoolMetrics {
        self.pools.of(name)
    }

    /// Those of the store.
    pub fn store(&self) -> StoreMetrics {
        self.store.clone()
    }

    /// A request was answered; `route` is None where there is no such route.
    pub fn answered(&self, route: Option<(&'static str, &'static str)>, status: u16) {
        let (method, route) = route.unwrap_or(("", "none"));
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }

    /// All of it in Prometheus's text format, version 0.0.4; of pools only those that `shows` names.
    pub fn text(&self, shows: impl Fn(&str) -> bool) -> String {
        let mut open = String::new();
        let encoded = prometheus_client::encoding::text::encode(&mut open, &self.registry);
        encoded.expect("a String takes any text");
        text::prometheus(&open, shows)
    }
}
