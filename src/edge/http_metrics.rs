//! Counters of HTTP, TLS and certificates. Label values come from the configuration, never from a stranger, so their number is bounded.

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::core::limits::Denied;
use super::core::listen_plan::Door;
use super::reach::Reach;

/// All families; a clone counts into the same ones.
#[derive(Debug, Clone, Default)]
pub struct HttpMetrics {
    accepted: Family<DoorLabel, Counter>,
    refused: Family<DoorReason, Counter>,
    handshake_failures: Family<Reason, Counter>,
    requests: Family<ServerClass, Counter>,
    dials: Family<UpstreamOutcome, Counter>,
    orders: Family<NameOutcome, Counter>,
    expiry: Family<Name, Gauge>,
    /// Hears of every dial.
    pub(super) reach: Reach,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabel {
    door: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorReason {
    door: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerClass {
    server: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamOutcome {
    upstream: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameOutcome {
    name: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: String,
}

impl HttpMetrics {
    /// Registers every family.
    pub fn new(registry: &mut Registry) -> Self {
        let all = Self::default();
        let registry = registry.sub_registry_with_prefix("genkan_edge_http");
        registry.register("connections", "Connections accepted", all.accepted.clone());
        registry.register("connections_refused", "Connections turned away", all.refused.clone());
        registry.register("handshake_failures", "TLS handshakes that failed", all.handshake_failures.clone());
        registry.register(
            "requests",
            "Requests answered, by who answered and class of status",
            all.requests.clone(),
        );
        registry.register("dials", "Attempts to reach an upstream", all.dials.clone());
        registry.register("certificate_orders", "Certificate orders, by how they ended", all.orders.clone());
        registry.register(
            "certificate_expiry_seconds",
            "When a certificate expires, in Unix time",
            all.expiry.clone(),
        );
        all
    }

    pub(super) fn count_accepted(&self, door: Door) {
        self.accepted.get_or_create(&DoorLabel { door: door_name(door) }).inc();
    }

    pub(super) fn count_refused(&self, door: Door, denied: Denied) {
        let reason = match denied {
            Denied::Full => "full",
            Denied::SourceFull => "source_full",
        };
        self.refused.get_or_create(&DoorReason { door: door_name(door), reason }).inc();
    }

    pub(super) fn count_handshake_failure(&self, reason: &'static str) {
        self.handshake_failures.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn count_request(&self, server: &str, status: StatusCode) {
        let code = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&ServerClass { server: server.to_owned(), code }).inc();
    }

    pub(super) fn count_dial(&self, upstream: &str, outcome: &'static str) {
        self.dials.get_or_create(&UpstreamOutcome { upstream: upstream.to_owned(), outcome }).inc();
    }

    pub(super) fn count_order(&self, name: &str, outcome: &'static str) {
        self.orders.get_or_create(&NameOutcome { name: name.to_owned(), outcome }).inc();
    }

    pub(super) fn set_expiry(&self, name: &str, seconds: i64) {
        self.expiry.get_or_create(&Name { name: name.to_owned() }).set(seconds);
    }
}

fn door_name(door: Door) -> &'static str {
    match door {
        Door::Https => "https",
        Door::Http => "http",
        Door::Control => "control",
        Door::Plain => "plain",
    }
}
