//! Counters of the control channel.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    result: &'static str,
}

/// What a map request asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    kind: &'static str,
}

/// Counters of the server; clones share them.
#[derive(Debug, Clone, Default)]
pub struct ControlMetrics {
    handshakes: Family<Outcome, Counter>,
    registrations: Family<Outcome, Counter>,
    map_requests: Family<Kind, Counter>,
    pub open_connections: Gauge,
    pub open_streams: Gauge,
}

impl ControlMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "genkan_coordinator_noise_handshakes",
            "Control connections by what came of their Noise handshake",
            metrics.handshakes.clone(),
        );
        registry.register(
            "genkan_coordinator_registrations",
            "Registration requests by what came of them",
            metrics.registrations.clone(),
        );
        registry.register(
            "genkan_coordinator_map_requests",
            "Map requests by kind of answer",
            metrics.map_requests.clone(),
        );
        registry.register(
            "genkan_coordinator_open_connections",
            "Control connections now open",
            metrics.open_connections.clone(),
        );
        registry.register(
            "genkan_coordinator_open_streams",
            "Map streams now open",
            metrics.open_streams.clone(),
        );
        metrics
    }

    /// `result`: accepted, malformed, refused (made for another key), busy (over a limit), broken (went away), timeout.
    pub fn count_handshake(&self, result: &'static str) {
        self.handshakes.get_or_create(&Outcome { result }).inc();
    }

    /// `result`: accepted, pending (waits for a login), ended (logged out, or its key has expired), refused.
    pub fn count_registration(&self, result: &'static str) {
        self.registrations.get_or_create(&Outcome { result }).inc();
    }

    /// `kind`: updated, once, stream, refused.
    pub fn count_map_request(&self, kind: &'static str) {
        self.map_requests.get_or_create(&Kind { kind }).inc();
    }
}
