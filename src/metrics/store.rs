//! How long the store takes, and how often it fails.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What is measured of the store. A cheap handle.
#[derive(Clone)]
pub struct StoreMetrics {
    answers: Family<Operation, Histogram, fn() -> Histogram>,
    errors: Family<Failed, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    operation: &'static str,
    kind: &'static str,
}

impl StoreMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let new: fn() -> Histogram = || Histogram::new(super::ANSWERS);
        let measured = Self { answers: Family::new_with_constructor(new), errors: Family::default() };
        let help = "How long the store took for an operation, in seconds";
        registry.register("store_answer_seconds", help, measured.answers.clone());
        let help = "Operations that the store did not do, by what is known of them";
        registry.register("store_errors", help, measured.errors.clone());
        measured
    }

    /// The store answered an operation, or did not: `kind` says in which way.
    pub fn asked(&self, operation: &'static str, took: Duration, kind: Option<&'static str>) {
        self.answers.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
        if let Some(kind) = kind {
            self.errors.get_or_create(&Failed { operation, kind }).inc();
        }
    }
}
