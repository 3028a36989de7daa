//! Counters of the relay.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::coordinator::core::relay::{DropReason, Full};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Counters of the relay; clones share them. The node of this process counts like any client.
#[derive(Debug, Clone)]
pub struct RelayMetrics {
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
    dropped: Family<Reason, Counter>,
    refused: Family<Reason, Counter>,
    pub(super) open_connections: Gauge,
}

/// Packets and their bytes in one direction.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    packets: Counter,
    bytes: Counter,
}

impl RelayMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let packets = Family::default();
        let bytes = Family::default();
        let dropped = Family::default();
        let refused = Family::default();
        let open_connections = Gauge::default();
        registry.register("genkan_relay_packets", "Packets relayed", packets.clone());
        registry.register("genkan_relay_bytes", "Bytes of packets relayed", bytes.clone());
        registry.register("genkan_relay_dropped_packets", "Packets that went nowhere", dropped.clone());
        registry.register("genkan_relay_refused_connections", "Connections turned away", refused.clone());
        registry.register("genkan_relay_open_connections", "Connections now open", open_connections.clone());
        Self {
            received: Traffic::new("in", &packets, &bytes),
            sent: Traffic::new("out", &packets, &bytes),
            dropped,
            refused,
            open_connections,
        }
    }

    pub(super) fn count_drop(&self, reason: DropReason) {
        let (reason, packets) = match reason {
            DropReason::NotHere => ("not_here", 1),
            DropReason::NotIntroduced => ("not_introduced", 1),
            DropReason::Overflow(displaced) => ("overflow", displaced),
        };
        let packets = u64::try_from(packets).unwrap_or(u64::MAX);
        self.dropped.get_or_create(&Reason { reason }).inc_by(packets);
    }

    pub(super) fn count_full(&self, full: Full) {
        self.count_refusal(match full {
            Full::Total => "total",
            Full::Source => "source",
            Full::Strangers => "strangers",
        });
    }

    /// `reason` beside the limits: `handshake`, `not_admitted`.
    pub(super) fn count_refusal(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}

impl Traffic {
    fn new(
        direction: &'static str,
        packets: &Family<Direction, Counter>,
        bytes: &Family<Direction, Counter>,
    ) -> Self {
        let direction = Direction { direction };
        Self {
            packets: packets.get_or_create_owned(&direction),
            bytes: bytes.get_or_create_owned(&direction),
        }
    }

    pub(super) fn count(&self, bytes: usize) {
        self.packets.inc();
        self.bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}
