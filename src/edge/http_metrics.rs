//! Counters of HTTP, TLS and certificates. Label values come from the configuration, never from a stranger, so their number is bounded.

use std::net::SocketAddr;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::core::listen_plan::Door;
use super::reach::Reach;
use crate::base::ceilings::Denied;

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

/// Counters of one listening socket, looked up once.
pub(super) struct ListenerMetrics {
    accepted: Counter,
    full: Counter,
    source_full: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabel {
    door: &'static str,
    address: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorReason {
    door: &'static str,
    address: String,
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

    /// The counters of one listening socket.
    pub(super) fn of_listener(&self, door: Door, address: SocketAddr) -> ListenerMetrics {
        let (door, address) = (door_name(door), address.to_string());
        let refused = |reason| {
            let labels = DoorReason { door, address: address.clone(), reason };
            self.refused.get_or_create_owned(&labels)
        };
        let (full, source_full) = (refused("full"), refused("source_full"));
        let accepted = self.accepted.get_or_create_owned(&DoorLabel { door, address });
        ListenerMetrics { accepted, full, source_full }
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

impl ListenerMetrics {
    pub fn count_accepted(&self) {
        self.accepted.inc();
    }

    pub fn count_refused(&self, denied: Denied) {
        match denied {
            Denied::Full => self.full.inc(),
            Denied::SourceFull => self.source_full.inc(),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_of_one_kind_are_told_apart() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::new(&mut registry);
        let of = |port| metrics.of_listener(Door::Https, SocketAddr::from(([0, 0, 0, 0], port)));
        of(443).count_accepted();
        of(8443).count_refused(Denied::SourceFull);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("writing to a string");
        for line in [
            r#"connections_total{door="https",address="0.0.0.0:443"} 1"#,
            r#"connections_total{door="https",address="0.0.0.0:8443"} 0"#,
            r#"connections_refused_total{door="https",address="0.0.0.0:8443",reason="source_full"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
