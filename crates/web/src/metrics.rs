//! What Prometheus reads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    service: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

/// The metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<ServiceLabels, Histogram>,
    work: Family<KindLabels, Gauge>,
    connections: Gauge,
    refused: Counter,
    lost: Family<KindLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("hanse");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let seconds: Family<ServiceLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_5, 4.0, 9)));
        registry.register(
            "http_request_seconds",
            "Time from the head of a request to the head of its answer",
            seconds.clone(),
        );
        let work = Family::default();
        registry.register("work_items", "Objects that reconcilers have not finished", work.clone());
        let connections = Gauge::default();
        registry.register("http_connections", "Open client connections", connections.clone());
        let refused = Counter::default();
        registry.register(
            "http_connections_refused",
            "Connections refused because there were too many",
            refused.clone(),
        );
        let lost = Family::default();
        registry.register("lost", "What could be neither kept nor delivered", lost.clone());
        Metrics {
            registry: Arc::new(Mutex::new(registry)),
            requests,
            seconds,
            work,
            connections,
            refused,
            lost,
        }
    }
}

impl Metrics {
    pub(crate) fn request(&self, service: &'static str, method: &Method, status: StatusCode, took: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            Method::HEAD => "HEAD",
            _ => "other",
        };
        self.requests.get_or_create(&RequestLabels { service, method, status: status.as_u16() }).inc();
        self.seconds.get_or_create(&ServiceLabels { service }).observe(took.as_secs_f64());
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// Counts what of a kind was given up.
    pub fn lost(&self, kind: &str, items: u64) {
        self.lost.get_or_create(&KindLabels { kind: kind.to_owned() }).inc_by(items);
    }

    /// Sets how much work of a kind waits.
    pub fn work(&self, kind: &str, items: u64) {
        let labels = KindLabels { kind: kind.to_owned() };
        self.work.get_or_create(&labels).set(i64::try_from(items).unwrap_or(i64::MAX));
    }

    /// The text format of OpenMetrics.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
