//! Counters of the edge. Label values come from the configuration, never from a stranger, so their number is bounded.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::http_metrics::HttpMetrics;
use super::reach::Reach;

/// All families of the edge; a clone counts into the same ones.
#[derive(Debug, Clone)]
pub struct EdgeMetrics {
    pub http: HttpMetrics,
    pub relay: RelayMetrics,
    pub udp: UdpMetrics,
}

/// Layer 4 TCP.
#[derive(Debug, Clone, Default)]
pub struct RelayMetrics {
    pub accepted: Family<Route, Counter>,
    pub refused: Family<RouteReason, Counter>,
    pub open: Family<Route, Gauge>,
    pub dials: Family<Dial, Counter>,
    pub closed: Family<RouteReason, Counter>,
    pub bytes: Family<RouteDirection, Counter>,
    /// Buffers that hold bytes on their way, and the most that ever did at once.
    pub chunks: Gauge,
    pub chunks_high_water: Gauge,
    /// Hears of every dial.
    pub reach: Reach,
}

/// Layer 4 UDP.
#[derive(Debug, Clone, Default)]
pub struct UdpMetrics {
    pub flows: Family<RouteUpstream, Counter>,
    pub open: Family<Route, Gauge>,
    pub ended: Family<RouteReason, Counter>,
    pub datagrams: Family<RouteDirection, Counter>,
    pub bytes: Family<RouteDirection, Counter>,
    pub dropped: Family<RouteReason, Counter>,
}

/// A configured server of layer 4.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Route {
    pub route: String,
}

/// A route, and why something ended or did not begin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteReason {
    pub route: String,
    pub reason: &'static str,
}

/// A route, and which of its upstreams was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteUpstream {
    pub route: String,
    pub upstream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteDirection {
    pub route: String,
    pub direction: Direction,
}

/// Seen from the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    In,
    /// From the upstream to the client.
    Out,
}

/// One attempt to reach an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Dial {
    pub route: String,
    pub upstream: String,
    pub outcome: &'static str,
}

impl EncodeLabelValue for Direction {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        match self {
            Self::In => EncodeLabelValue::encode(&"in", encoder),
            Self::Out => EncodeLabelValue::encode(&"out", encoder),
        }
    }
}

impl EdgeMetrics {
    /// Registers every family.
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            http: HttpMetrics::new(registry),
            relay: RelayMetrics::new(registry),
            udp: UdpMetrics::new(registry),
        }
    }

    /// The same; every dial that is counted is told to `reach`, too.
    #[must_use]
    pub fn telling(mut self, reach: &Reach) -> Self {
        self.relay.reach = reach.clone();
        self.http.reach = reach.clone();
        self
    }
}

impl RelayMetrics {
    fn new(registry: &mut Registry) -> Self {
        let all = Self::default();
        let registry = registry.sub_registry_with_prefix("genkan_edge_relay");
        registry.register("connections", "TCP connections accepted", all.accepted.clone());
        registry.register("connections_refused", "TCP connections turned away", all.refused.clone());
        registry.register("connections_open", "TCP connections relayed now", all.open.clone());
        registry.register("connections_closed", "TCP connections that ended, by how", all.closed.clone());
        registry.register("dials", "Attempts to reach an upstream", all.dials.clone());
        registry.register("bytes", "Bytes passed on", all.bytes.clone());
        registry.register("buffers", "Buffers holding bytes on their way", all.chunks.clone());
        registry.register("buffers_high_water", "Most buffers held at once", all.chunks_high_water.clone());
        all
    }
}

impl UdpMetrics {
    fn new(registry: &mut Registry) -> Self {
        let all = Self::default();
        let registry = registry.sub_registry_with_prefix("genkan_edge_udp");
        registry.register("flows", "UDP flows begun", all.flows.clone());
        registry.register("flows_open", "UDP flows open now", all.open.clone());
        registry.register("flows_ended", "UDP flows that ended, by how", all.ended.clone());
        registry.register("datagrams", "Datagrams passed on", all.datagrams.clone());
        registry.register("bytes", "Bytes of payload passed on", all.bytes.clone());
        registry.register("datagrams_dropped", "Datagrams not passed on", all.dropped.clone());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_appear_under_the_edges_names() {
        let mut registry = Registry::default();
        let metrics = EdgeMetrics::new(&mut registry);
        metrics.relay.accepted.get_or_create(&Route { route: "ssh".into() }).inc();
        let labels = RouteDirection { route: "game".into(), direction: Direction::Out };
        metrics.udp.bytes.get_or_create(&labels).inc_by(9);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("writing to a string");
        assert!(text.contains("genkan_edge_relay_connections_total{route=\"ssh\"} 1"), "{text}");
        assert!(text.contains("genkan_edge_udp_bytes_total{route=\"game\",direction=\"out\"} 9"), "{text}");
    }
}
